import type { Random } from "#core/ports.ts";
import {
  checkSize,
  effectiveInput,
  filterOutput,
  inputScope,
  produceOutput,
  readSeconds,
  readWaitEnd,
} from "./data-flow.ts";
import { runtimeFailure, StatesFailure } from "./failure.ts";
import { event, type Frame, type NewEvent, type Phase } from "./frame.ts";
import { type Expression, evaluate } from "./intrinsics.ts";
import { field, isArray, isObject, type Json, type JsonObject } from "./json.ts";
import { DISTRIBUTED_MAP_CONCURRENCY_MAX, INLINE_MAP_CONCURRENCY_MAX } from "./limits.ts";
import { readAt, type Scope, selectAt } from "./paths.ts";
import type { FailState, MapState, State, TaskState } from "./states.ts";
import { fill } from "./template.ts";

/** What a state does with the data once it is entered: it is over already, or it has a phase to live through. */
export type Entered =
  | { readonly kind: "over"; readonly output: Json; readonly next: string | undefined }
  | { readonly kind: "phase"; readonly phase: Phase; readonly events: readonly NewEvent[] };

export interface Surroundings {
  readonly now: number;
  readonly random: Random;
  /** The context object for this state; with a task token or the Map item of an ItemSelector where there is one. */
  readonly context: (extra?: { token?: string; item?: { index: number; value: Json } }) => JsonObject;
}

/** The history's words for the two kinds of task. */
export function resourceOf(state: TaskState): Readonly<Record<string, string>> {
  return { resourceType: "lambda", resource: state.waitForToken ? "invoke.waitForTaskToken" : "invoke" };
}

/** Evaluates a state's input. Throws `StatesFailure`; for a Fail state always. */
export function enterState(state: State, frame: Frame, around: Surroundings): Entered {
  if (state.type === "Fail") throw failureOf(state, { ...around, input: frame.input, context: around.context() });
  const context = around.context();
  const scope = inputScope(state, frame, context, around.random);
  switch (state.type) {
    case "Succeed":
      return { kind: "over", output: filterOutput(state, scope), next: undefined };
    case "Pass": {
      const result = state.result ?? effectiveInput(state, state.parameters, scope);
      return { kind: "over", output: produceOutput(state, frame, result, context, around.random), next: state.next };
    }
    case "Choice": {
      const chosen = state.choices.find((choice) => choice.condition(scope))?.next ?? state.otherwise;
      if (chosen === undefined) throw new StatesFailure("States.NoChoiceMatched", `no choice of ${state.name} matches`);
      return { kind: "over", output: filterOutput(state, scope), next: chosen };
    }
    case "Wait": {
      const until = readWaitEnd(state, scope, around.now);
      return { kind: "phase", phase: { at: "wait", until, ms: until - around.now }, events: [] };
    }
    case "Task":
      return enterTask(state, scope, around);
    case "Parallel": {
      const input = effectiveInput(state, state.parameters, scope);
      const phase = {
        at: "children",
        starts: state.branches,
        inputs: state.branches.map(() => input),
        items: undefined,
        atOnce: state.branches.length,
      } as const;
      return { kind: "phase", phase, events: [event("ParallelStateStarted", state.name)] };
    }
    case "Map":
      return enterMap(state, scope, around);
  }
}

function failureOf(state: FailState, scope: Scope): StatesFailure {
  const text = (expression: Expression | undefined, what: string): string => {
    const value = expression === undefined ? "" : evaluate(expression, scope, `${state.name}.${what}`);
    if (typeof value !== "string") throw runtimeFailure(`${state.name}.${what} is not a string`);
    return value;
  };
  return new StatesFailure(text(state.error, "Error"), text(state.cause, "Cause"));
}

function enterTask(state: TaskState, scope: Scope, around: Surroundings): Entered {
  const token = state.waitForToken ? Buffer.from(around.random.bytes(32)).toString("base64url") : undefined;
  const context = token === undefined ? scope.context : around.context({ token });
  const call = effectiveInput(state, state.parameters, { ...scope, context });
  const functionName = isObject(call) ? field(call, "FunctionName") : undefined;
  if (!isObject(call) || typeof functionName !== "string") {
    throw runtimeFailure(`${state.name}: FunctionName is not a string`);
  }
  const timeoutSeconds = readSeconds(state.timeout, scope, 1, `${state.name}.TimeoutSeconds`);
  const heartbeatSeconds =
    state.heartbeat === undefined
      ? undefined
      : readSeconds(state.heartbeat, scope, 1, `${state.name}.HeartbeatSeconds`);
  const phase: Phase = {
    at: "task",
    functionName,
    payload: field(call, "Payload") ?? {},
    timeoutSeconds,
    timeoutAt: around.now + timeoutSeconds * 1000,
    token,
    heartbeatSeconds,
    submitted: false,
    outcome: undefined,
  };
  const events = [
    event("TaskScheduled", state.name, {
      ...resourceOf(state),
      timeoutInSeconds: timeoutSeconds,
      ...(heartbeatSeconds === undefined ? {} : { heartbeatInSeconds: heartbeatSeconds }),
    }),
    event("TaskStarted", state.name, resourceOf(state)),
  ];
  return { kind: "phase", phase, events };
}

function enterMap(state: MapState, scope: Scope, around: Surroundings): Entered {
  const items = selectAt(state.itemsPath, scope, `${state.name}.ItemsPath`);
  if (!isArray(items)) throw runtimeFailure(`${state.name}: Map state input must be an array`);
  const { itemSelector } = state;
  const inputs = items.map((value, index) => {
    if (itemSelector === undefined) return value;
    return checkSize(state.name, fill(itemSelector, { ...scope, context: around.context({ item: { index, value } }) }));
  });
  const phase = {
    at: "children",
    starts: items.map(() => state.startAt),
    inputs,
    items: state.distributed ? undefined : items,
    atOnce: concurrencyOf(state, scope),
  } as const;
  const started = event("MapStateStarted", state.name, { length: items.length });
  return {
    kind: "phase",
    phase,
    events: state.distributed ? [started, event("MapRunStarted", state.name)] : [started],
  };
}

function concurrencyOf({ maxConcurrency, distributed, name }: MapState, scope: Scope): number {
  const most = distributed ? DISTRIBUTED_MAP_CONCURRENCY_MAX : INLINE_MAP_CONCURRENCY_MAX;
  const value =
    typeof maxConcurrency === "number" ? maxConcurrency : readAt(maxConcurrency, scope, `${name}.MaxConcurrencyPath`);
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
    throw runtimeFailure(`${name}.MaxConcurrencyPath: ${JSON.stringify(value)} is not an integer from 0 up`);
  }
  return value === 0 ? most : Math.min(value, most);
}
