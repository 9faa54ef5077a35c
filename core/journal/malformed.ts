import { MalformedBatch } from "#core/errors.ts";

/** The one way this folder refuses bytes: names the field, and the record or frame number where there is one. */
export function malformed(field: string, message: string, index?: number): MalformedBatch {
  const where = index === undefined ? field : `${field} of number ${index}`;
  return new MalformedBatch(`batch refused: ${where} ${message}`, index === undefined ? { field } : { field, index });
}
