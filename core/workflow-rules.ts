import { InvalidInput } from "./errors.ts";
import type { TableValue } from "./ports.ts";

/** UTF-8 bytes a payload, an input or an output may have; Step Functions' own bound ("Quotas", AWS Step Functions guide). */
export const payloadBytesMax = 262_144;
/** Characters of an execution's name. */
export const executionNameCharactersMax = 80;

const executionName = new RegExp(`^[A-Za-z0-9_.-]{1,${executionNameCharactersMax}}$`);

/** Refuses, by `InvalidInput`, a name that Step Functions wouldn't take, or would take and count as another in a log. */
export function assertExecutionName(name: string): void {
  if (!executionName.test(name))
    throw new InvalidInput(`an execution's name must match ${executionName.source}: ${name}`, { name });
}

/** What the JSON text of an input or an output holds. Throws `InvalidInput` for other text, and for more than a payload may have. */
export function parsePayload(text: string, what: string): TableValue {
  if (Buffer.byteLength(text) > payloadBytesMax) {
    throw new InvalidInput(`the ${what} is larger than ${payloadBytesMax} bytes`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidInput(`the ${what} is not JSON`, {}, { cause: error });
  }
}
