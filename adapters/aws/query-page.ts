import type { QueryCommandInput } from "@aws-sdk/client-dynamodb";
import { assertKeyPart, compareSortKeys, decodeCursor, queryLimit, sortKeyBytesMax } from "#core/table-rules.ts";
import { type Attributes, keyAttributes } from "./attributes.ts";

export interface QueryOptions {
  readonly from?: string;
  readonly to?: string;
  readonly reverse?: boolean;
  readonly limit?: number;
  readonly cursor?: string;
}

export interface QueryPage {
  readonly input: Omit<QueryCommandInput, "TableName">;
  /** Whether a sort key lies in the range: DynamoDB's includes its upper end, the port's doesn't. */
  holds(sk: string): boolean;
}

/** One page of a query in DynamoDB's terms; undefined when nothing can lie in the range. Throws `InvalidInput`. */
export function pageOf(pk: string, options: QueryOptions): QueryPage | undefined {
  const limit = queryLimit(options.limit);
  const { from = "", to, reverse = false } = options;
  if (from !== "") assertKeyPart("from", from, sortKeyBytesMax);
  if (to !== undefined && to !== "") assertKeyPart("to", to, sortKeyBytesMax);
  const cursor = options.cursor === undefined ? undefined : decodeCursor(options.cursor);
  if (to !== undefined && compareSortKeys(from, to) >= 0) return undefined;
  // Backwards a page begins behind its upper end as behind a cursor, so that its first item is never the one that is left out.
  const start = cursor ?? (reverse ? to : undefined);
  const range = rangeOf(from, reverse ? undefined : to);
  const input = {
    KeyConditionExpression: ["pk = :pk", ...range.parts].join(" AND "),
    ExpressionAttributeValues: { ":pk": { S: pk }, ...range.values },
    ScanIndexForward: !reverse,
    Limit: limit,
    ...(start === undefined ? {} : { ExclusiveStartKey: keyAttributes({ pk, sk: start }) }),
  };
  return { input, holds: (sk) => to === undefined || compareSortKeys(sk, to) < 0 };
}

/** A key condition takes one comparison of the sort key. */
function rangeOf(
  from: string,
  to: string | undefined,
): { readonly parts: readonly string[]; readonly values: Attributes } {
  if (from === "" && to === undefined) return { parts: [], values: {} };
  if (to === undefined) return { parts: ["sk >= :from"], values: { ":from": { S: from } } };
  if (from === "") return { parts: ["sk < :to"], values: { ":to": { S: to } } };
  return { parts: ["sk BETWEEN :from AND :to"], values: { ":from": { S: from }, ":to": { S: to } } };
}
