import { InvalidDefinition } from "#core/errors.ts";
import { type Expression, parseExpression } from "./intrinsics.ts";
import { field, isArray, isObject, type Json, type JsonObject } from "./json.ts";
import { type Path, parsePath } from "./paths.ts";
import { parseTemplate, type Template } from "./template.ts";

const PLAIN_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** `$.States.X` with quotes where the name needs them. */
export function below(at: string, name: string | number): string {
  if (typeof name === "number") return `${at}[${name}]`;
  return PLAIN_NAME.test(name) ? `${at}.${name}` : `${at}['${name}']`;
}

/** Reads an object of a definition field by field; `end` refuses what nobody asked for. Every error names the JSON path. */
export class Fields {
  readonly at: string;
  readonly #value: JsonObject;
  readonly #asked = new Set<string>();

  constructor(value: Json | undefined, at: string) {
    if (!isObject(value)) throw new InvalidDefinition(`${at}: must be an object`);
    this.#value = value;
    this.at = at;
  }

  /** The error for field `name`. */
  invalid(name: string, reason: string): InvalidDefinition {
    return new InvalidDefinition(`${below(this.at, name)}: ${reason}`);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#value, name);
  }

  /** Fields that nobody has asked for yet. */
  rest(): readonly string[] {
    return Object.keys(this.#value).filter((name) => !this.#asked.has(name));
  }

  get(name: string): Json | undefined {
    this.#asked.add(name);
    return field(this.#value, name);
  }

  string(name: string): string {
    const value = this.optionalString(name);
    if (value === undefined) throw this.invalid(name, "is missing");
    return value;
  }

  optionalString(name: string): string | undefined {
    const value = this.get(name);
    if (value !== undefined && typeof value !== "string") throw this.invalid(name, "must be a string");
    return value;
  }

  /** An integer in `[least, most]`. */
  optionalInteger(name: string, least: number, most: number): number | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
      throw this.invalid(name, `must be an integer from ${least} to ${most}`);
    }
    return value;
  }

  array(name: string): readonly Json[] {
    const value = this.get(name);
    if (!isArray(value)) throw this.invalid(name, value === undefined ? "is missing" : "must be an array");
    return value;
  }

  /** Objects of a required, non-empty array. */
  list(name: string): readonly Fields[] {
    const items = this.array(name);
    if (items.length === 0) throw this.invalid(name, "must not be empty");
    return items.map((item, i) => new Fields(item, below(below(this.at, name), i)));
  }

  object(name: string): Fields {
    return new Fields(this.get(name), below(this.at, name));
  }

  entries(): readonly (readonly [string, Fields])[] {
    return Object.keys(this.#value).map((name) => [name, this.object(name)]);
  }

  optionalPath(name: string): Path | undefined {
    const text = this.optionalString(name);
    return text === undefined ? undefined : parsePath(text, below(this.at, name));
  }

  /** A path that may be null; `$` when it is missing. */
  nullablePath(name: string): Path | null {
    if (this.has(name) && this.get(name) === null) return null;
    return this.optionalPath(name) ?? parsePath("$", this.at);
  }

  optionalExpression(name: string): Expression | undefined {
    const text = this.optionalString(name);
    return text === undefined ? undefined : parseExpression(text, below(this.at, name));
  }

  optionalTemplate(name: string): Template | undefined {
    const value = this.get(name);
    return value === undefined ? undefined : parseTemplate(value, below(this.at, name));
  }

  /** Throws for the first field that was not asked for. */
  end(): void {
    const unknown = this.rest()[0];
    if (unknown !== undefined) throw this.invalid(unknown, "is not known to this interpreter");
  }
}
