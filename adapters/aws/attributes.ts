import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import { Corrupt, InvalidInput } from "#core/errors.ts";
import type { TableFields, TableItem, TableKey, TableValue } from "#core/ports.ts";
import { numberMagnitudeMax, numberMagnitudeMin } from "./limits.ts";

export type Attributes = Record<string, AttributeValue>;

/** An item's attributes beside its key: what the port calls `rev` and `fields`, and which call wrote it last. */
export const attributeNames = { "#pk": "pk", "#rev": "rev", "#fields": "fields", "#write": "write" } as const;

export const keyAttributes = ({ pk, sk }: TableKey): Attributes => ({ pk: { S: pk }, sk: { S: sk } });

/** A table value as DynamoDB's. Throws `InvalidInput` for the few that JSON has and DynamoDB hasn't. */
export function toAttribute(value: TableValue): AttributeValue {
  if (value === null) return { NULL: true };
  if (typeof value === "boolean") return { BOOL: value };
  if (typeof value === "number") return { N: numberText(value) };
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new InvalidInput("A field holds text with half a surrogate pair.");
    return { S: value };
  }
  if (isList(value)) return { L: value.map(toAttribute) };
  return toMap(value);
}

export function toMap(fields: TableFields): { readonly M: Attributes } {
  return { M: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, toAttribute(value)])) };
}

function numberText(value: number): string {
  const magnitude = Math.abs(value);
  if (value !== 0 && (magnitude > numberMagnitudeMax || magnitude < numberMagnitudeMin))
    throw new InvalidInput("A field holds a number beyond DynamoDB's magnitudes.", { value });
  return String(value);
}

function isList(value: TableValue): value is readonly TableValue[] {
  return Array.isArray(value);
}

/** An item as the port has it. Throws `Corrupt` for one that this adapter didn't write. */
export function toItem(attributes: Attributes): TableItem {
  const { pk, sk, rev, fields } = attributes;
  const item = { pk: pk?.S ?? "", sk: sk?.S ?? "", rev: Number(rev?.N) };
  if (item.pk === "" || item.sk === "" || !Number.isSafeInteger(item.rev) || fields?.M === undefined)
    throw new Corrupt("A table item is not one that a site wrote.", { pk: item.pk, sk: item.sk });
  return { ...item, fields: fromMap(fields.M) };
}

function fromMap(attributes: Attributes): TableFields {
  return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, fromAttribute(value)]));
}

function fromAttribute(value: AttributeValue): TableValue {
  if (value.S !== undefined) return value.S;
  if (value.N !== undefined) return Number(value.N);
  if (value.BOOL !== undefined) return value.BOOL;
  if (value.NULL !== undefined) return null;
  if (value.L !== undefined) return value.L.map(fromAttribute);
  if (value.M !== undefined) return fromMap(value.M);
  throw new Corrupt("A table item holds a set or bytes, which no site writes.");
}
