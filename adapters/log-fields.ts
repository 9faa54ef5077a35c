import type { LogFields } from "#core/ports.ts";

/** How deep a field is looked through; deeper ones are replaced, so that a loop in a value can't hang the process. */
const depthMax = 8;
const hidden = "[hidden]";
const secretName = /(tokens?|authorization|secrets?|passwords?|passphrase|cookies?|private_?key)$/i;
const bearer = /\b(bearer|basic)\s+[\w.~+/=-]+/gi;

/** The fields without secrets, errors spelled out with their causes, big integers and bytes in a form JSON has. */
export function cleanFields(fields: LogFields): Record<string, unknown> {
  return cleanNamed(fields, 0);
}

function cleanNamed(value: object, depth: number): Record<string, unknown> {
  const entries = Object.entries(value).map(([name, inner]) => [
    name,
    secretName.test(name) && inner !== null && inner !== undefined ? hidden : clean(inner, depth + 1),
  ]);
  return Object.fromEntries(entries);
}

function clean(value: unknown, depth: number): unknown {
  if (typeof value === "string") return value.replaceAll(bearer, `$1 ${hidden}`);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (depth > depthMax) return "[too deep]";
  if (value instanceof Error) return cleanError(value, depth);
  if (value instanceof Uint8Array) return `[${value.length} bytes]`;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((element) => clean(element, depth + 1));
  return cleanNamed(value, depth);
}

function cleanError(error: Error, depth: number): Record<string, unknown> {
  const { name, message, stack, cause, ...rest } = { ...error, ...namedPartsOf(error) };
  return {
    name,
    message: clean(message, depth),
    ...cleanNamed(rest, depth),
    ...(cause === undefined ? {} : { cause: clean(cause, depth + 1) }),
    stack: clean(stack, depth),
  };
}

/** The parts of an error that aren't enumerable. */
function namedPartsOf(error: Error): Pick<Error, "name" | "message" | "stack" | "cause"> {
  return { name: error.name, message: error.message, stack: error.stack ?? "", cause: error.cause };
}
