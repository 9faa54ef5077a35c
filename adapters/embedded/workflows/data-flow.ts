import type { Random } from "#core/ports.ts";
import { payloadBytesMax } from "#core/workflow-rules.ts";
import { runtimeFailure, StatesFailure } from "./failure.ts";
import type { Frame } from "./frame.ts";
import type { Json, JsonObject } from "./json.ts";
import { jsonBytes } from "./json.ts";
import { SECONDS_MAX } from "./limits.ts";
import { placeAt, readAt, type Scope, selectAt } from "./paths.ts";
import type { Seconds, State } from "./states.ts";
import { fill, type Template } from "./template.ts";
import { parseTimestamp } from "./timestamp.ts";

type Filtered = Exclude<State, { type: "Fail" }>;

/** States.DataLimitExceeded for a value over the payload bound. */
export function sizeFailure(name: string, value: Json): StatesFailure | undefined {
  if (jsonBytes(value) <= payloadBytesMax) return undefined;
  const reason = `The state/task '${name}' returned a result with a size exceeding the maximum number of bytes service limit.`;
  return new StatesFailure("States.DataLimitExceeded", reason);
}

/** The value again; throws when it is over the payload bound. */
export function checkSize(name: string, value: Json): Json {
  const failure = sizeFailure(name, value);
  if (failure !== undefined) throw failure;
  return value;
}

/** The state's input after InputPath, as the scope of its paths. */
export function inputScope(state: Filtered, frame: Frame, context: JsonObject, random: Random): Scope {
  const raw = { input: frame.input, context, random };
  return { ...raw, input: selectAt(state.inputPath, raw, `${state.name}.InputPath`) };
}

/** Parameters, or the input itself; bounded. */
export function effectiveInput(state: State, parameters: Template | undefined, scope: Scope): Json {
  return parameters === undefined ? scope.input : checkSize(state.name, fill(parameters, scope));
}

/** OutputPath over what the state hands on; bounded. */
export function filterOutput(state: Filtered, scope: Scope): Json {
  return checkSize(state.name, selectAt(state.outputPath, scope, `${state.name}.OutputPath`));
}

/** A result on its way out: ResultSelector, then ResultPath into the raw input, then OutputPath. */
export function produceOutput(
  state: Extract<State, { resultPath: unknown }>,
  frame: Frame,
  result: Json,
  context: JsonObject,
  random: Random,
): Json {
  const selector = "resultSelector" in state ? state.resultSelector : undefined;
  const selected = selector === undefined ? result : fill(selector, { input: result, context, random });
  return filterOutput(state, { input: placeAt(state.resultPath, frame.input, selected), context, random });
}

/** A number of seconds, from the document or the input; anything but an integer from `least` up is States.Runtime. */
export function readSeconds(seconds: Seconds, scope: Scope, least: number, what: string): number {
  const value = typeof seconds === "number" ? seconds : readAt(seconds, scope, what);
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > SECONDS_MAX) {
    throw runtimeFailure(`${what}: ${JSON.stringify(value)} is not an integer from ${least} to ${SECONDS_MAX}`);
  }
  return value;
}

/** When a Wait ends, in milliseconds since the epoch. */
export function readWaitEnd(state: Extract<State, { type: "Wait" }>, scope: Scope, now: number): number {
  const { until } = state;
  if (until.kind === "seconds") return now + readSeconds(until.seconds, scope, 0, `${state.name}.SecondsPath`) * 1000;
  if (typeof until.timestamp === "number") return until.timestamp;
  const text = readAt(until.timestamp, scope, `${state.name}.TimestampPath`);
  const at = typeof text === "string" ? parseTimestamp(text) : undefined;
  if (at === undefined) throw runtimeFailure(`${state.name}.TimestampPath: ${JSON.stringify(text)} is not a time`);
  return at;
}
