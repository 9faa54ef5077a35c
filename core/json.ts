import type { z } from "zod";
import { Corrupt, InvalidInput } from "#core/errors.ts";
import type { TableFields, TableValue } from "#core/ports.ts";
import { formatBytes, formatDuration, formatRate } from "#core/units.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** A value as the bytes of a JSON object in the bucket; the same value gives the same bytes. */
export function jsonBytes(value: TableValue | object): Uint8Array {
  return encoder.encode(`${JSON.stringify(value)}\n`);
}

/** Reads a stored JSON object. Throws `Corrupt` naming `what` when it isn't what the schema says. */
export function parseStored<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch (cause) {
    throw new Corrupt(`${what} is not JSON`, { what }, { cause });
  }
  return checkStored(schema, value, what);
}

/** The same for a value that is already parsed, such as a table item's fields. */
export function checkStored<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Corrupt(`${what} does not have the fields it should: ${firstIssue(parsed.error)}`, { what });
}

/** What someone sent, checked. Throws `InvalidInput` naming the first wrong field. */
export function parseInput<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value, { error: boundText });
  if (parsed.success) return parsed.data;
  const field = parsed.error.issues[0]?.path.join(".") ?? "";
  throw new InvalidInput(firstIssue(parsed.error), { field });
}

/** A bound that was passed, in the unit of the field's name; undefined for any other issue, which then has zod's own words. */
export const boundText: z.core.$ZodErrorMap = (issue) => {
  if (issue.code !== "too_big" && issue.code !== "too_small") return undefined;
  const [word, bound] = issue.code === "too_big" ? ["most", issue.maximum] : ["least", issue.minimum];
  const unit = countedBy[issue.origin];
  return `must ${unit === undefined ? "be" : "have"} at ${word} ${amountText(String(issue.path?.at(-1)), Number(bound))}${unit ?? ""}`;
};

const countedBy: Readonly<Record<string, string>> = { string: " characters", array: " entries" };

function amountText(field: string, amount: number): string {
  if (field.endsWith("PerSecond")) return formatRate(amount);
  if (field === "bytes" || field.endsWith("Bytes")) return formatBytes(amount);
  if (field.endsWith("Ms")) return formatDuration(amount);
  return String(amount);
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "invalid";
  const where = issue.path.join(".");
  return where === "" ? issue.message : `${where}: ${issue.message}`;
}

/** Fields for the table: what `JSON` would keep of the value, typed. */
export function tableFields(value: object): TableFields {
  return JSON.parse(JSON.stringify(value)) as TableFields;
}
