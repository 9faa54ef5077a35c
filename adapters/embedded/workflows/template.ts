import { InvalidDefinition } from "#core/errors.ts";
import { type Expression, evaluate, parseExpression } from "./intrinsics.ts";
import { isArray, isObject, type Json } from "./json.ts";
import { DEPTH_MAX } from "./limits.ts";
import type { Scope } from "./paths.ts";

/** A payload template (Parameters, ResultSelector, ItemSelector): JSON in which fields named `x.$` are computed. */
export type Template =
  | { readonly kind: "value"; readonly value: Json }
  | { readonly kind: "array"; readonly items: readonly Template[] }
  | { readonly kind: "object"; readonly fields: readonly (readonly [string, Template])[] }
  | { readonly kind: "expression"; readonly expression: Expression; readonly at: string };

/** Compiles a template; throws `InvalidDefinition`. */
export function parseTemplate(value: Json, at: string, depth = 0): Template {
  if (depth > DEPTH_MAX) throw new InvalidDefinition(`${at}: nested too deep`);
  if (isArray(value)) {
    return { kind: "array", items: value.map((item, i) => parseTemplate(item, `${at}[${i}]`, depth + 1)) };
  }
  if (!isObject(value)) return { kind: "value", value };
  const fields = Object.entries(value).map(([key, content]): readonly [string, Template] => {
    const where = `${at}.${key}`;
    if (!key.endsWith(".$")) return [key, parseTemplate(content, where, depth + 1)];
    if (typeof content !== "string") throw new InvalidDefinition(`${where}: must be a path or an intrinsic function`);
    return [key.slice(0, -2), { kind: "expression", expression: parseExpression(content, where), at: where }];
  });
  if (new Set(fields.map(([key]) => key)).size < fields.length) {
    throw new InvalidDefinition(`${at}: a field is given twice, with and without .$`);
  }
  return { kind: "object", fields };
}

/** Computes the payload. Throws as `evaluate` does. */
export function fill(template: Template, scope: Scope): Json {
  switch (template.kind) {
    case "value":
      return template.value;
    case "array":
      return template.items.map((item) => fill(item, scope));
    case "object":
      return Object.fromEntries(template.fields.map(([key, content]) => [key, fill(content, scope)]));
    case "expression":
      return evaluate(template.expression, scope, template.at);
  }
}
