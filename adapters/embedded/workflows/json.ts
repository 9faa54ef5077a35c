/** A JSON value as workflows carry it. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json;
}

export function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses JSON text; throws `SyntaxError`. */
export function parseJson(text: string): Json {
  return JSON.parse(text);
}

/** What a caller of a remote function would see of `value`: its JSON form, null for undefined. Throws `TypeError` when it has none. */
export function toJson(value: unknown): Json {
  const text = JSON.stringify(value);
  return text === undefined ? null : parseJson(text);
}

/** The own field of an object, undefined when it is missing. */
export function field(value: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

/** UTF-8 bytes of the value's JSON text. */
export function jsonBytes(value: Json): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** A copy of `value` with one more field; safe for names like `__proto__`. */
export function withField(value: JsonObject, name: string, content: Json): JsonObject {
  return Object.fromEntries([...Object.entries(value).filter(([key]) => key !== name), [name, content]]);
}
