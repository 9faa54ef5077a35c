import { InvalidDefinition } from "#core/errors.ts";
import { StatesFailure } from "./failure.ts";
import { isArray, type Json, parseJson } from "./json.ts";
import { DEPTH_MAX } from "./limits.ts";
import { type Path, parsePath, readAt, type Scope } from "./paths.ts";

/** The value of a `name.$` field: a path, or calls of intrinsic functions over paths and literals. */
export type Expression =
  | { readonly kind: "path"; readonly path: Path }
  | { readonly kind: "literal"; readonly value: Json }
  | { readonly kind: "call"; readonly name: IntrinsicName; readonly args: readonly Expression[] };

type Intrinsic = (args: readonly Json[], scope: Scope) => Json;

/** Least and most number of arguments, and the function. */
const intrinsics = {
  "States.Format": { least: 1, most: 64, apply: format },
  "States.JsonToString": { least: 1, most: 1, apply: ([value = null]) => JSON.stringify(value) },
  "States.StringToJson": { least: 1, most: 1, apply: stringToJson },
  "States.Array": { least: 0, most: 64, apply: (args) => args },
  "States.ArrayGetItem": { least: 2, most: 2, apply: arrayGetItem },
  "States.ArrayLength": { least: 1, most: 1, apply: ([array = null]) => asArray(array).length },
  "States.MathAdd": { least: 2, most: 2, apply: ([left = null, right = null]) => asInteger(left) + asInteger(right) },
  "States.UUID": { least: 0, most: 0, apply: (_, scope) => uuid(scope) },
} satisfies Record<string, { least: number; most: number; apply: Intrinsic }>;

type IntrinsicName = keyof typeof intrinsics;

function isIntrinsic(name: string): name is IntrinsicName {
  return Object.hasOwn(intrinsics, name);
}

function failed(reason: string): StatesFailure {
  return new StatesFailure("States.IntrinsicFailure", reason);
}

/** Braces stand for the arguments in order; `\{`, `\}` and `\\` are literal. */
function format([template = null, ...values]: readonly Json[]): Json {
  if (typeof template !== "string") throw failed("States.Format: the template must be a string");
  let used = 0;
  const text = template.replaceAll(/\\([{}\\'])|\{\}/g, (whole, escaped?: string) => {
    if (escaped !== undefined) return escaped;
    const value = values[used++];
    if (value === undefined) throw failed("States.Format: more {} than arguments");
    // Step Functions renders these in Java's notation, which nobody can read back; States.JsonToString says what is meant.
    if (typeof value === "object" && value !== null)
      throw failed(`States.Format: ${whole} stands for an object or array`);
    return String(value);
  });
  if (used !== values.length) throw failed("States.Format: fewer {} than arguments");
  return text;
}

function stringToJson([text = null]: readonly Json[]): Json {
  if (typeof text !== "string") throw failed("States.StringToJson: not a string");
  try {
    return parseJson(text);
  } catch (error) {
    throw failed(`States.StringToJson: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function arrayGetItem([array = null, index = null]: readonly Json[]): Json {
  const item = asArray(array)[asInteger(index)];
  if (item === undefined) throw failed("States.ArrayGetItem: no item at that index");
  return item;
}

function asArray(value: Json): readonly Json[] {
  if (!isArray(value)) throw failed("the argument must be an array");
  return value;
}

function asInteger(value: Json): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) throw failed("the argument must be an integer");
  return value;
}

function uuid(scope: Scope): string {
  const bytes = scope.random.bytes(16);
  const hex = Buffer.from(bytes.map((byte, i) => (i === 6 ? (byte & 15) | 64 : i === 8 ? (byte & 63) | 128 : byte)));
  return hex.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Computes the expression. Throws States.Runtime for a path that selects nothing, States.IntrinsicFailure for bad arguments. */
export function evaluate(expression: Expression, scope: Scope, what: string): Json {
  switch (expression.kind) {
    case "path":
      return readAt(expression.path, scope, what);
    case "literal":
      return expression.value;
    case "call": {
      const apply: Intrinsic = intrinsics[expression.name].apply;
      return apply(
        expression.args.map((argument) => evaluate(argument, scope, what)),
        scope,
      );
    }
  }
}

/** Compiles a path or an intrinsic call; throws `InvalidDefinition` for anything else. */
export function parseExpression(text: string, at: string): Expression {
  if (text.startsWith("$")) return { kind: "path", path: parsePath(text, at) };
  const reader = new Reader(text, at);
  const call = reader.call(0);
  reader.end();
  return call;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?/y;
const WORD = /true|false|null/y;
const NAME = /States\.[A-Za-z0-9]+/y;
const PATH = /\$(?:[^\s,()']|'[^']*')*/y;
const STRING = /'((?:[^'\\]|\\['{}\\])*)'/y;
const SPACE = / */y;

class Reader {
  readonly #text: string;
  readonly #at: string;
  #next = 0;

  constructor(text: string, at: string) {
    this.#text = text;
    this.#at = at;
  }

  call(depth: number): Expression {
    if (depth > DEPTH_MAX) throw this.#invalid("calls are nested too deep");
    const name = this.#take(NAME)?.[0] ?? "";
    if (!isIntrinsic(name)) throw this.#invalid(`no known intrinsic function${name === "" ? "" : `: ${name}`}`);
    const args: Expression[] = [];
    if (!this.#mark("(")) throw this.#invalid("( expected");
    while (!this.#mark(")")) {
      if (args.length > 0 && !this.#mark(",")) throw this.#invalid(", or ) expected");
      args.push(this.#argument(name, args.length, depth));
    }
    const { least, most } = intrinsics[name];
    if (args.length < least || args.length > most) throw this.#invalid(`${name} takes ${least} to ${most} arguments`);
    return { kind: "call", name, args };
  }

  end(): void {
    if (this.#next < this.#text.length) throw this.#invalid("unexpected text at the end");
  }

  #argument(name: IntrinsicName, index: number, depth: number): Expression {
    this.#take(SPACE);
    const string = this.#take(STRING)?.[1];
    if (string !== undefined) {
      // Format reads the escapes of its template itself: there `\{` differs from `{`.
      const raw = name === "States.Format" && index === 0;
      return { kind: "literal", value: raw ? string : string.replaceAll(/\\(.)/g, "$1") };
    }
    const path = this.#take(PATH)?.[0];
    if (path !== undefined) return { kind: "path", path: parsePath(path, this.#at) };
    const literal = (this.#take(NUMBER) ?? this.#take(WORD))?.[0];
    if (literal !== undefined) return { kind: "literal", value: parseJson(literal) };
    return this.call(depth + 1);
  }

  #mark(mark: string): boolean {
    this.#take(SPACE);
    if (this.#text[this.#next] !== mark) return false;
    this.#next++;
    this.#take(SPACE);
    return true;
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#next;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#next = pattern.lastIndex;
    return match;
  }

  #invalid(reason: string): InvalidDefinition {
    return new InvalidDefinition(`${this.#at}: ${reason} in ${this.#text}`);
  }
}
