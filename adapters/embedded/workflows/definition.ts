import { InvalidDefinition } from "#core/errors.ts";
import { parseCondition } from "./choice.ts";
import { below, Fields } from "./fields.ts";
import { isArray, isObject, type Json, toJson } from "./json.ts";
import {
  DEPTH_MAX,
  DISTRIBUTED_MAP_CONCURRENCY_MAX,
  INLINE_MAP_CONCURRENCY_MAX,
  SECONDS_MAX,
  STATE_NAME_LENGTH_MAX,
} from "./limits.ts";
import type { Path } from "./paths.ts";
import { parseCatch, parseRetry, resultPath } from "./retry.ts";
import type { FailState, Machine, Seconds, State, TaskState, WaitState } from "./states.ts";
import { parseTemplate } from "./template.ts";
import { parseTimestamp } from "./timestamp.ts";

const INVOKE = "arn:aws:states:::lambda:invoke";
const INVOKE_WITH_TOKEN = "arn:aws:states:::lambda:invoke.waitForTaskToken";
const TOKEN_PATH = "$$.Task.Token";

/**
 * Replaces `${Name}` in every string of the document, as a deployment replaces the placeholders of workflows/*.asl.json.
 * Throws `InvalidDefinition` for a name that `values` does not have.
 */
export function substitute(document: unknown, values: Readonly<Record<string, string>>): Json {
  const walk = (value: Json, at: string): Json => {
    if (typeof value === "string") {
      return value.replaceAll(/\$\{([^}]*)\}/g, (_, name: string) => {
        const replacement = Object.hasOwn(values, name) ? values[name] : undefined;
        if (replacement === undefined) throw new InvalidDefinition(`${at}: no value for the placeholder ${name}`);
        return replacement;
      });
    }
    if (isArray(value)) return value.map((item, i) => walk(item, below(at, i)));
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, below(at, key))]));
  };
  return walk(toJson(document), "$");
}

/**
 * Reads an Amazon States Language document (JSONPath; states-language.net). Anything this interpreter would not carry out
 * exactly as Step Functions does throws `InvalidDefinition` with the JSON path of the offending field. Unreachable states
 * are allowed here: the validator of the tests reports them.
 */
export function parseMachine(document: Json): Machine {
  const root = new Fields(document, "$");
  const states = new Map<string, State>();
  root.optionalString("Comment");
  constant(root, "Version", "1.0");
  constant(root, "QueryLanguage", "JSONPath");
  const timeoutSeconds = root.optionalInteger("TimeoutSeconds", 1, SECONDS_MAX);
  const startAt = parseStates(root, states, 0);
  root.end();
  return { startAt, timeoutSeconds, states };
}

function constant(fields: Fields, name: string, value: string): void {
  const found = fields.optionalString(name);
  if (found !== undefined && found !== value) throw fields.invalid(name, `must be ${value}`);
}

/** True for a Map whose items are executions of their own; only EXPRESS ones are known here. */
function isDistributed(config: Fields): boolean {
  const mode = config.optionalString("Mode") ?? "INLINE";
  if (mode !== "INLINE" && mode !== "DISTRIBUTED") throw config.invalid("Mode", "must be INLINE or DISTRIBUTED");
  if (mode === "DISTRIBUTED" && config.string("ExecutionType") !== "EXPRESS") {
    throw config.invalid("ExecutionType", "only EXPRESS is known to this interpreter");
  }
  config.end();
  return mode === "DISTRIBUTED";
}

/** StartAt and States of the machine, a branch or an ItemProcessor: adds the states to `all`, answers where it starts. */
function parseStates(block: Fields, all: Map<string, State>, depth: number, express = false): string {
  if (depth > DEPTH_MAX) throw block.invalid("States", "nested too deep");
  const entries = block.object("States").entries();
  const names = new Set(entries.map(([name]) => name));
  const target = (item: Fields, fieldName: string): string => {
    const name = item.string(fieldName);
    if (!names.has(name)) throw item.invalid(fieldName, `there is no state ${name} here`);
    return name;
  };
  for (const [name, fields] of entries) {
    if (name === "" || name.length > STATE_NAME_LENGTH_MAX)
      throw fields.invalid("Type", "a state name has 1 to 80 characters");
    const state = new StateReader(name, fields, target, all, depth, express).read();
    if (all.has(name)) throw new InvalidDefinition(`${fields.at}: another state has the same name`);
    all.set(name, state);
    fields.end();
  }
  return target(block, "StartAt");
}

class StateReader {
  readonly #name: string;
  readonly #fields: Fields;
  readonly #target: (item: Fields, fieldName: string) => string;
  readonly #all: Map<string, State>;
  readonly #depth: number;
  /** In an execution of EXPRESS type, which has no task tokens. */
  readonly #express: boolean;

  constructor(
    name: string,
    fields: Fields,
    target: (item: Fields, fieldName: string) => string,
    all: Map<string, State>,
    depth: number,
    express: boolean,
  ) {
    this.#name = name;
    this.#fields = fields;
    this.#target = target;
    this.#all = all;
    this.#depth = depth;
    this.#express = express;
  }

  read(): State {
    const fields = this.#fields;
    const name = this.#name;
    const type = fields.string("Type");
    fields.optionalString("Comment");
    switch (type) {
      case "Pass":
        return {
          type,
          ...this.#producing(),
          parameters: fields.optionalTemplate("Parameters"),
          result: fields.get("Result"),
        };
      case "Succeed":
        return { type, ...this.#filtered() };
      case "Fail":
        return { type, name, error: this.#text("Error"), cause: this.#text("Cause") };
      case "Wait":
        return { type, ...this.#leading(), until: this.#until() };
      case "Choice": {
        const choices = fields.list("Choices").map((rule) => {
          const next = this.#target(rule, "Next");
          return { condition: parseCondition(rule), next };
        });
        const otherwise = fields.has("Default") ? this.#target(fields, "Default") : undefined;
        return { type, ...this.#filtered(), choices, otherwise };
      }
      case "Task":
        return this.#task();
      case "Parallel": {
        const branches = fields.list("Branches").map((branch) => this.#block(branch, this.#express));
        return { type, ...this.#failing(), parameters: fields.optionalTemplate("Parameters"), branches };
      }
      case "Map": {
        const processor = fields.object("ItemProcessor");
        const distributed = processor.has("ProcessorConfig") && isDistributed(processor.object("ProcessorConfig"));
        if (distributed && this.#express) throw processor.invalid("ProcessorConfig", "EXPRESS runs no distributed Map");
        return {
          type,
          ...this.#failing(),
          itemsPath: fields.nullablePath("ItemsPath"),
          itemSelector: fields.optionalTemplate("ItemSelector"),
          startAt: this.#block(processor, distributed || this.#express),
          maxConcurrency: this.#concurrency(distributed),
          distributed,
        };
      }
      default:
        throw fields.invalid("Type", `${type} is not known to this interpreter`);
    }
  }

  /** MaxConcurrency, and of a distributed Map what else it may state: its label, and that no failure is tolerated. */
  #concurrency(distributed: boolean): number | Path {
    const fields = this.#fields;
    const most = distributed ? DISTRIBUTED_MAP_CONCURRENCY_MAX : INLINE_MAP_CONCURRENCY_MAX;
    const value = fields.optionalInteger("MaxConcurrency", 0, most);
    const path = fields.optionalPath("MaxConcurrencyPath");
    if (value !== undefined && path !== undefined)
      throw fields.invalid("MaxConcurrencyPath", "excludes MaxConcurrency");
    if (distributed) {
      fields.optionalString("Label");
      fields.optionalInteger("ToleratedFailureCount", 0, 0);
      fields.optionalInteger("ToleratedFailurePercentage", 0, 0);
    }
    return value ?? path ?? 0;
  }

  #block(block: Fields, express: boolean): string {
    block.optionalString("Comment");
    const startAt = parseStates(block, this.#all, this.#depth + 1, express);
    block.end();
    return startAt;
  }

  #filtered() {
    const fields = this.#fields;
    return {
      name: this.#name,
      inputPath: fields.nullablePath("InputPath"),
      outputPath: fields.nullablePath("OutputPath"),
    };
  }

  #leading() {
    const fields = this.#fields;
    const end = fields.get("End");
    if (end !== undefined && end !== true) throw fields.invalid("End", "must be true when it is given");
    if (fields.has("Next") === (end === true)) throw fields.invalid("Next", "a state has either Next or End");
    return { ...this.#filtered(), next: end === true ? undefined : this.#target(fields, "Next") };
  }

  #producing() {
    return { ...this.#leading(), resultPath: resultPath(this.#fields) };
  }

  #failing() {
    return {
      ...this.#producing(),
      resultSelector: this.#fields.optionalTemplate("ResultSelector"),
      retry: parseRetry(this.#fields),
      catch: parseCatch(this.#fields, this.#target),
    };
  }

  /** Error or Cause of a Fail state, as a constant or by its Path field. */
  #text(name: "Error" | "Cause"): FailState["error"] {
    const value = this.#fields.optionalString(name);
    const computed = this.#fields.optionalExpression(`${name}Path`);
    if (value !== undefined && computed !== undefined) throw this.#fields.invalid(`${name}Path`, `excludes ${name}`);
    return value === undefined ? computed : { kind: "literal", value };
  }

  #until(): WaitState["until"] {
    const fields = this.#fields;
    const given = ["Seconds", "SecondsPath", "Timestamp", "TimestampPath"].filter((name) => fields.has(name));
    if (given.length !== 1) throw fields.invalid(given[1] ?? "Seconds", "a Wait has exactly one kind of time");
    const seconds = this.#seconds("Seconds", 0);
    if (seconds !== undefined) return { kind: "seconds", seconds };
    const path = fields.optionalPath("TimestampPath");
    if (path !== undefined) return { kind: "timestamp", timestamp: path };
    const timestamp = parseTimestamp(fields.string("Timestamp"));
    if (timestamp === undefined) throw fields.invalid("Timestamp", "must be a time like 2030-01-31T12:00:00Z");
    return { kind: "timestamp", timestamp };
  }

  #seconds(name: string, least: number): Seconds | undefined {
    const value = this.#fields.optionalInteger(name, least, SECONDS_MAX);
    const path = this.#fields.optionalPath(`${name}Path`);
    if (value !== undefined && path !== undefined) throw this.#fields.invalid(`${name}Path`, `excludes ${name}`);
    return value ?? path;
  }

  #task(): TaskState {
    const fields = this.#fields;
    const resource = fields.string("Resource");
    if (resource !== INVOKE && resource !== INVOKE_WITH_TOKEN) {
      throw fields.invalid("Resource", `${resource} is not known to this interpreter`);
    }
    const waitForToken = resource === INVOKE_WITH_TOKEN;
    if (waitForToken && this.#express) throw fields.invalid("Resource", "EXPRESS knows no task tokens");
    const timeout = this.#seconds("TimeoutSeconds", 1) ?? SECONDS_MAX;
    const heartbeat = this.#seconds("HeartbeatSeconds", 1);
    if (heartbeat !== undefined && !waitForToken)
      throw fields.invalid("HeartbeatSeconds", "only a task token can beat");
    if (typeof heartbeat === "number" && typeof timeout === "number" && heartbeat >= timeout) {
      throw fields.invalid("HeartbeatSeconds", "must be less than TimeoutSeconds");
    }
    return {
      type: "Task",
      ...this.#failing(),
      waitForToken,
      parameters: this.#call(waitForToken),
      timeout,
      heartbeat,
    };
  }

  /** Parameters of lambda:invoke: FunctionName and Payload, no more. */
  #call(waitForToken: boolean): TaskState["parameters"] {
    const fields = this.#fields;
    const value = fields.get("Parameters");
    const at = below(fields.at, "Parameters");
    const parameters = new Fields(value, at);
    const names = parameters.rest().map((name) => name.replace(/\.\$$/, ""));
    if (!names.includes("FunctionName")) throw parameters.invalid("FunctionName", "is missing");
    const unknown = names.find((name) => name !== "FunctionName" && name !== "Payload");
    if (unknown !== undefined) throw parameters.invalid(unknown, "is not known to this interpreter");
    if (JSON.stringify(value).includes(TOKEN_PATH) !== waitForToken) {
      throw fields.invalid("Parameters", `${TOKEN_PATH} belongs to lambda:invoke.waitForTaskToken, and it needs it`);
    }
    return parseTemplate(value ?? null, at);
  }
}
