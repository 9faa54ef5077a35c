import { InvalidDefinition } from "#core/errors.ts";
import type { Random } from "#core/ports.ts";
import { runtimeFailure, StatesFailure } from "./failure.ts";
import { field, isArray, isObject, type Json, type JsonObject, withField } from "./json.ts";

type Step = string | number;

/** A reference path: `$`, `$.a.b[0]`, `$['x']`, or the same into the context object after `$$`. */
export interface Path {
  readonly text: string;
  readonly root: "input" | "context";
  readonly steps: readonly Step[];
}

/** What paths and templates read. */
export interface Scope {
  readonly input: Json;
  readonly context: JsonObject;
  readonly random: Random;
}

const STEP = /\.([A-Za-z_][A-Za-z0-9_-]*)|\['([^'\\]+)'\]|\[(0|[1-9][0-9]{0,8})\]/y;

/** The fields of the context object; a name that ends in `.*` may go deeper. */
const CONTEXT = [
  "Execution.Id",
  "Execution.Name",
  "Execution.Input",
  "Execution.Input.*",
  "Execution.StartTime",
  "State.Name",
  "State.EnteredTime",
  "State.RetryCount",
  "StateMachine.Name",
  "Task.Token",
  "Map.Item.Index",
  "Map.Item.Value",
  "Map.Item.Value.*",
];

/** Compiles a path; any other JSONPath form (filters, wildcards, slices, `..`) throws `InvalidDefinition`. */
export function parsePath(text: string, at: string): Path {
  const root = text.startsWith("$$") ? "context" : "input";
  const steps: Step[] = [];
  let end = root === "context" ? 2 : 1;
  if (!text.startsWith("$")) throw new InvalidDefinition(`${at}: a path must start with $: ${text}`);
  while (end < text.length) {
    STEP.lastIndex = end;
    const match = STEP.exec(text);
    if (match === null) throw new InvalidDefinition(`${at}: not a reference path: ${text}`);
    steps.push(match[3] === undefined ? (match[1] ?? match[2] ?? "") : Number(match[3]));
    end = STEP.lastIndex;
  }
  if (root === "context") checkContext(steps, text, at);
  return { text, root, steps };
}

function checkContext(steps: readonly Step[], text: string, at: string): void {
  const name = steps.join(".");
  const known = CONTEXT.some((entry) => (entry.endsWith(".*") ? name.startsWith(entry.slice(0, -1)) : name === entry));
  if (!known) throw new InvalidDefinition(`${at}: the context object has no ${text}`);
}

/** What the path selects, undefined when nothing is there. */
export function findAt(path: Path, scope: Scope): Json | undefined {
  let value: Json | undefined = path.root === "context" ? scope.context : scope.input;
  for (const step of path.steps) {
    if (typeof step === "number") value = isArray(value) ? value[step] : undefined;
    else value = isObject(value) ? field(value, step) : undefined;
    if (value === undefined) return undefined;
  }
  return value;
}

/** What the path selects; States.Runtime when nothing is there. */
export function readAt(path: Path, scope: Scope, what: string): Json {
  const value = findAt(path, scope);
  if (value === undefined) throw runtimeFailure(`${what}: the path ${path.text} selects nothing`);
  return value;
}

/** InputPath, OutputPath: a path, or null for the empty object. */
export function selectAt(path: Path | null, scope: Scope, what: string): Json {
  return path === null ? {} : readAt(path, scope, what);
}

/** ResultPath: puts `result` into a copy of `target`; null drops the result. Throws States.ResultPathMatchFailure. */
export function placeAt(path: Path | null, target: Json, result: Json): Json {
  return path === null ? target : place(path, 0, target, result);
}

function place(path: Path, depth: number, target: Json | undefined, result: Json): Json {
  const step = path.steps[depth];
  if (step === undefined) return result;
  if (typeof step === "string") {
    const base = target === undefined ? {} : target;
    if (isObject(base)) return withField(base, step, place(path, depth + 1, field(base, step), result));
  } else if (isArray(target) && step < target.length) {
    return target.with(step, place(path, depth + 1, target[step], result));
  }
  throw new StatesFailure("States.ResultPathMatchFailure", `the result cannot be put at ${path.text} of the input`);
}
