import { ConditionFailed, InvalidInput } from "./errors.ts";
import type { TableAction, TableCondition, TableFields, TableItem, TableKey, TableValue } from "./ports.ts";

/** Actions in one transaction: DynamoDB's bound. */
export const transactActionsMax = 100;
/** Bytes of one transaction's puts as JSON: DynamoDB's 4 MB. */
export const transactBytesMax = 4 * 1024 * 1024;
/** Bytes of an item, key and fields as JSON: DynamoDB's 400 KB. */
export const itemBytesMax = 409_600;
/** Items in one page of a query. */
export const queryItemsMax = 1000;
/** UTF-8 bytes of the two parts of a key: DynamoDB's bounds. */
export const partitionKeyBytesMax = 2048;
export const sortKeyBytesMax = 1024;
/** How deep a field's value may nest: DynamoDB's bound. */
export const valueDepthMax = 32;

const encoder = new TextEncoder();

function utf8Bytes(text: string): number {
  return encoder.encode(text).length;
}

/** Refuses, by `InvalidInput`, a key that not every table could hold and sort alike. */
export function assertTableKey(key: TableKey): void {
  assertKeyPart("pk", key.pk, partitionKeyBytesMax);
  assertKeyPart("sk", key.sk, sortKeyBytesMax);
}

/** Refuses an empty, too long or ill-formed part of a key (a lone surrogate or NUL is not the same in every store). */
export function assertKeyPart(name: string, part: string, bytesMax: number): void {
  if (part === "") throw new InvalidInput(`A table key's ${name} is empty.`);
  if (!part.isWellFormed() || part.includes("\0"))
    throw new InvalidInput(`A table key's ${name} is not well-formed text.`, { [name]: part });
  const bytes = utf8Bytes(part);
  if (bytes > bytesMax) throw new InvalidInput(`A table key's ${name} has at most ${bytesMax} bytes, not ${bytes}.`);
}

/** The page size of a query; refuses what isn't a whole number from 1 to `queryItemsMax`. */
export function queryLimit(limit: number | undefined): number {
  if (limit === undefined) return queryItemsMax;
  if (!Number.isInteger(limit) || limit < 1 || limit > queryItemsMax)
    throw new InvalidInput(`A query's limit is a whole number from 1 to ${queryItemsMax}.`, { limit });
  return limit;
}

/** The fields as JSON text; refuses values that JSON would change and items that are too large. */
function encodeFields(key: TableKey, fields: TableFields): string {
  assertValue(fields, "fields", 0);
  const json = JSON.stringify(fields);
  const bytes = utf8Bytes(json) + utf8Bytes(key.pk) + utf8Bytes(key.sk);
  if (bytes > itemBytesMax)
    throw new InvalidInput(`An item has at most ${itemBytesMax} bytes, this one ${bytes}.`, { pk: key.pk, sk: key.sk });
  return json;
}

function assertValue(value: unknown, path: string, depth: number): void {
  if (depth > valueDepthMax) throw new InvalidInput(`A field nests deeper than ${valueDepthMax}.`, { path });
  if (value === null || typeof value === "string" || typeof value === "boolean") return;
  if (typeof value === "number") {
    if (!Number.isFinite(value) || Object.is(value, -0))
      throw new InvalidInput("A field holds a number that JSON would change.", { path });
    return;
  }
  if (Array.isArray(value)) {
    for (const [index, element] of value.entries()) assertValue(element, `${path}[${index}]`, depth + 1);
    return;
  }
  if (typeof value !== "object" || ![Object.prototype, null].includes(Object.getPrototypeOf(value)))
    throw new InvalidInput(`A field holds a ${typeof value} that is no table value.`, { path });
  for (const [name, element] of Object.entries(value)) assertValue(element, `${path}.${name}`, depth + 1);
}

/** The key of an action, whichever it is. */
export function keyOfAction(action: TableAction): TableKey {
  if ("put" in action) return action.put;
  return "delete" in action ? action.delete : action.check;
}

/** Refuses too many actions, keys that aren't allowed and keys that occur twice. */
function assertActions(actions: readonly TableAction[]): void {
  if (actions.length > transactActionsMax)
    throw new InvalidInput(`A transaction has at most ${transactActionsMax} actions, this one ${actions.length}.`);
  const seen = new Set<string>();
  for (const action of actions) {
    const { pk, sk } = keyOfAction(action);
    assertTableKey({ pk, sk });
    const name = `${pk}\0${sk}`;
    if (seen.has(name)) throw new InvalidInput("A transaction names one key twice.", { pk, sk });
    seen.add(name);
  }
}

/** Each put's fields as JSON text, "" for the other actions; refuses what `assertActions` and `encodeFields` refuse, and too much at once. */
export function encodeActions(actions: readonly TableAction[]): readonly string[] {
  assertActions(actions);
  const texts = actions.map((action) => ("put" in action ? encodeFields(action.put, action.fields) : ""));
  if (texts.length > 1 && texts.reduce((sum, text) => sum + utf8Bytes(text), 0) > transactBytesMax)
    throw new InvalidInput(`A transaction has at most ${transactBytesMax} bytes.`);
  return texts;
}

/** Throws `ConditionFailed` with the action's place when the item as it stands doesn't meet its condition. */
export function assertCondition(
  condition: TableCondition | undefined,
  item: Pick<TableItem, "rev" | "fields"> | undefined,
  index: number,
  key: TableKey,
): void {
  if (condition === undefined || holds(condition, item)) return;
  const wanted = "absent" in condition ? "absent" : "rev" in condition ? `rev ${condition.rev}` : "equal fields";
  const found = item === undefined ? "absent" : `rev ${item.rev}`;
  throw new ConditionFailed(`Item ${key.pk} ${key.sk} is not as wanted (${wanted}; it is ${found}).`, {
    index,
    pk: key.pk,
    sk: key.sk,
  });
}

function holds(condition: TableCondition, item: Pick<TableItem, "rev" | "fields"> | undefined): boolean {
  if ("absent" in condition) return item === undefined;
  if (item === undefined) return false;
  if ("rev" in condition) return item.rev === condition.rev;
  return Object.entries(condition.equals).every(([name, value]) => equalValues(fieldOf(item.fields, name), value));
}

function fieldOf(fields: TableFields, name: string): TableValue {
  return Object.hasOwn(fields, name) ? (fields[name] ?? null) : null;
}

/** Deep equality, whatever the order of names. */
export function equalValues(left: TableValue, right: TableValue): boolean {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false;
  if (isList(left) || isList(right)) {
    if (!isList(left) || !isList(right) || left.length !== right.length) return false;
    return left.every((value, index) => equalValues(value, right[index] ?? null));
  }
  const names = Object.keys(left);
  return (
    names.length === Object.keys(right).length &&
    names.every((name) => Object.hasOwn(right, name) && equalValues(left[name] ?? null, right[name] ?? null))
  );
}

/** A query's cursor: behind which sort key it goes on. */
export function encodeCursor(sk: string): string {
  return Buffer.from(sk).toString("base64url");
}

/** Throws `InvalidInput` for what no query gave. */
export function decodeCursor(cursor: string): string {
  const sk = Buffer.from(cursor, "base64url").toString();
  if (sk === "" || encodeCursor(sk) !== cursor) throw new InvalidInput("The cursor is not one that a query gave.");
  return sk;
}

/** The order of sort keys: by their UTF-8 bytes, which is not that of JavaScript's strings. */
export function compareSortKeys(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

function isList(value: TableValue): value is readonly TableValue[] {
  return Array.isArray(value);
}
