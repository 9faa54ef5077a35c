import type { TableCondition, TableFields, TableKey } from "#core/ports.ts";
import { type Attributes, attributeNames, keyAttributes, toAttribute, toMap } from "./attributes.ts";

/** Parts of a request that several actions have alike. */
export interface Expression {
  readonly ConditionExpression?: string;
  readonly ExpressionAttributeNames?: Record<string, string>;
  readonly ExpressionAttributeValues?: Attributes;
}

/** A condition as DynamoDB judges it: its `=` compares lists and maps deeply, whatever the order of names. */
export function conditionOf(condition: TableCondition | undefined): Expression {
  if (condition === undefined) return {};
  const names: Record<string, string> = { "#pk": attributeNames["#pk"] };
  if ("absent" in condition) {
    return { ConditionExpression: "attribute_not_exists(#pk)", ExpressionAttributeNames: names };
  }
  if ("rev" in condition) {
    return {
      ConditionExpression: "#rev = :wanted",
      ExpressionAttributeNames: { "#rev": attributeNames["#rev"] },
      ExpressionAttributeValues: { ":wanted": { N: String(condition.rev) } },
    };
  }
  const parts = ["attribute_exists(#pk)"];
  const values: Attributes = {};
  for (const [place, [name, value]] of Object.entries(condition.equals).entries()) {
    names["#fields"] = attributeNames["#fields"];
    names[`#e${place}`] = name;
    values[`:e${place}`] = toAttribute(value);
    const equal = `#fields.#e${place} = :e${place}`;
    parts.push(value === null ? `(attribute_not_exists(#fields.#e${place}) OR ${equal})` : equal);
  }
  return {
    ConditionExpression: parts.join(" AND "),
    ExpressionAttributeNames: names,
    ...(Object.keys(values).length === 0 ? {} : { ExpressionAttributeValues: values }),
  };
}

/**
 * A put as an update: only so does `rev` grow by one without being read. `write` names the call, by which it knows its own
 * work again after a reply was lost.
 */
export function updateOf(key: TableKey, fields: TableFields, condition: TableCondition | undefined, write: string) {
  const { ExpressionAttributeNames, ExpressionAttributeValues, ...expression } = conditionOf(condition);
  const { "#rev": rev, "#fields": all, "#write": by } = attributeNames;
  return {
    ...expression,
    Key: keyAttributes(key),
    UpdateExpression: "SET #fields = :fields, #write = :write ADD #rev :one",
    ExpressionAttributeNames: { ...ExpressionAttributeNames, "#rev": rev, "#fields": all, "#write": by },
    ExpressionAttributeValues: {
      ...ExpressionAttributeValues,
      ":fields": toMap(fields),
      ":write": { S: write },
      ":one": { N: "1" },
    },
  };
}
