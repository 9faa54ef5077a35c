import type { Frame } from "./frame.ts";
import type { Json, JsonObject } from "./json.ts";

export interface ExecutionContext {
  readonly machine: string;
  readonly name: string;
  readonly input: Json;
  readonly startedAt: number;
}

/**
 * The context object (`$$`) of a frame's state. `item` is the Map item it runs for, if any; `token` the task token.
 * Execution.Id is `machine:name`, as there are no ARNs here.
 */
export function contextOf(
  execution: ExecutionContext,
  frame: Pick<Frame, "state" | "entered" | "retries">,
  item: { readonly index: number; readonly value: Json } | undefined,
  token: string | undefined,
): JsonObject {
  return {
    Execution: {
      Id: `${execution.machine}:${execution.name}`,
      Name: execution.name,
      Input: execution.input,
      StartTime: new Date(execution.startedAt).toISOString(),
    },
    State: {
      Name: frame.state,
      EnteredTime: new Date(frame.entered ?? execution.startedAt).toISOString(),
      RetryCount: frame.retries.reduce((sum, count) => sum + count, 0),
    },
    StateMachine: { Name: execution.machine },
    ...(token === undefined ? {} : { Task: { Token: token } }),
    ...(item === undefined ? {} : { Map: { Item: { Index: item.index, Value: item.value } } }),
  };
}
