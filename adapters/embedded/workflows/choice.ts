import { runtimeFailure } from "./failure.ts";
import { below, type Fields } from "./fields.ts";
import type { Json } from "./json.ts";
import { DEPTH_MAX } from "./limits.ts";
import { findAt, type Path, parsePath, type Scope } from "./paths.ts";
import { parseTimestamp } from "./timestamp.ts";

/** One choice rule, ready to be asked. Throws States.Runtime when a path selects nothing (only IsPresent may ask that). */
export type Condition = (scope: Scope) => boolean;

type Ordered = string | number | boolean;
type Test = (value: Json) => boolean;

const order: Readonly<Record<string, (left: Ordered, right: Ordered) => boolean>> = {
  Equals: (left, right) => left === right,
  LessThan: (left, right) => left < right,
  LessThanEquals: (left, right) => left <= right,
  GreaterThan: (left, right) => left > right,
  GreaterThanEquals: (left, right) => left >= right,
};

/** How each family of operators reads a value; undefined when the value is of another type, which never matches. */
const kinds: Readonly<Record<string, (value: Json) => Ordered | undefined>> = {
  String: (value) => (typeof value === "string" ? value : undefined),
  Numeric: (value) => (typeof value === "number" ? value : undefined),
  Boolean: (value) => (typeof value === "boolean" ? value : undefined),
  Timestamp: (value) => (typeof value === "string" ? parseTimestamp(value) : undefined),
};

const types: Readonly<Record<string, Test>> = {
  IsNull: (value) => value === null,
  IsString: (value) => typeof value === "string",
  IsNumeric: (value) => typeof value === "number",
  IsBoolean: (value) => typeof value === "boolean",
  IsTimestamp: (value) => typeof value === "string" && parseTimestamp(value) !== undefined,
};

const COMPARISON =
  /^(String|Numeric|Boolean|Timestamp)(Equals|LessThan|LessThanEquals|GreaterThan|GreaterThanEquals)(Path)?$/;

/** Compiles a rule; the caller has read its Next. Throws `InvalidDefinition`. */
export function parseCondition(rule: Fields, depth = 0): Condition {
  if (depth > DEPTH_MAX) throw rule.invalid("And", "nested too deep");
  rule.optionalString("Comment");
  const operator = rule.rest().filter((name) => name !== "Variable");
  const name = operator[0] ?? "";
  if (operator.length !== 1) throw rule.invalid(operator[1] ?? "Variable", "a rule has exactly one operator");
  const condition = parseOperator(rule, name, depth);
  rule.end();
  return condition;
}

function parseOperator(rule: Fields, name: string, depth: number): Condition {
  if (name === "And" || name === "Or") {
    const parts = rule.list(name).map((part) => parseCondition(part, depth + 1));
    return name === "And"
      ? (scope) => parts.every((part) => part(scope))
      : (scope) => parts.some((part) => part(scope));
  }
  if (name === "Not") {
    const part = parseCondition(rule.object(name), depth + 1);
    return (scope) => !part(scope);
  }
  const variable = parsePath(rule.string("Variable"), below(rule.at, "Variable"));
  if (name === "IsPresent") {
    const wanted = boolean(rule, name);
    return (scope) => (findAt(variable, scope) !== undefined) === wanted;
  }
  if (Object.hasOwn(types, name)) {
    const wanted = boolean(rule, name);
    const test = types[name];
    return (scope) => test?.(read(variable, scope)) === wanted;
  }
  if (name === "StringMatches") {
    const pattern = wildcard(rule.string(name));
    return (scope) => {
      const value = read(variable, scope);
      return typeof value === "string" && pattern.test(value);
    };
  }
  return parseComparison(rule, name, variable);
}

function parseComparison(rule: Fields, name: string, variable: Path): Condition {
  const [, kind = "", relation = "", path] = COMPARISON.exec(name) ?? [];
  const coerce = kinds[kind];
  const holds = order[relation];
  if (coerce === undefined || holds === undefined || (kind === "Boolean" && relation !== "Equals")) {
    throw rule.invalid(name, "is not known to this interpreter");
  }
  const compare = (left: Ordered | undefined, right: Ordered | undefined): boolean =>
    left !== undefined && right !== undefined && holds(left, right);
  if (path !== undefined) {
    const other = parsePath(rule.string(name), below(rule.at, name));
    return (scope) => compare(coerce(read(variable, scope)), coerce(read(other, scope)));
  }
  const constant = coerce(rule.get(name) ?? null);
  if (constant === undefined) throw rule.invalid(name, "compares with a value of another type");
  return (scope) => compare(coerce(read(variable, scope)), constant);
}

function boolean(rule: Fields, name: string): boolean {
  const value = rule.get(name);
  if (typeof value !== "boolean") throw rule.invalid(name, "must be true or false");
  return value;
}

function read(path: Path, scope: Scope): Json {
  const value = findAt(path, scope);
  if (value === undefined) throw runtimeFailure(`the choice's path ${path.text} selects nothing`);
  return value;
}

/** `*` matches any run of characters, `\*` a star, `\\` a backslash. */
function wildcard(pattern: string): RegExp {
  const source = pattern.replaceAll(/\\([*\\])|\*|[\s\S]/g, (part, escaped?: string) => {
    if (part === "*") return "[\\s\\S]*";
    return (escaped ?? part).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  });
  return new RegExp(`^${source}$`);
}
