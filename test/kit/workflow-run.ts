import { EmbeddedWorkflows, type EmbeddedWorkflowsOptions } from "#adapters/embedded/workflows/interpreter.ts";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import type { ExecutionDescription, Log, Random } from "#core/ports.ts";
import { VirtualClock } from "./virtual-clock.ts";

const nothing = (): void => {};

/** A Log that tests do not read. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** The functions of a test, by name. */
export type TestFunctions = Readonly<Record<string, (payload: unknown) => unknown>>;

export interface WorkflowRun {
  readonly workflows: EmbeddedWorkflows;
  readonly clock: VirtualClock;
  /** Every call of a function, in order. */
  readonly calls: { readonly name: string; readonly payload: unknown; readonly at: number }[];
  /** Passes time until the execution has ended. */
  ended(machine: string, name: string): Promise<ExecutionDescription>;
  /** Starts `m` of the first machine with this input, and waits for its end. */
  run(input?: unknown): Promise<ExecutionDescription>;
  /** Closes the interpreter, passing the grace that functions without an end are given. */
  close(): Promise<void>;
}

export interface WorkflowRunOptions {
  readonly functions?: TestFunctions;
  readonly file?: string;
  readonly clock?: VirtualClock;
  readonly random?: Random;
  readonly onTransition?: EmbeddedWorkflowsOptions["onTransition"];
  readonly substitutions?: Readonly<Record<string, string>>;
}

/** An interpreter on a virtual clock whose machines are `documents`; `close` it at the end. */
export function workflowRun(
  documents: Readonly<Record<string, unknown>>,
  options: WorkflowRunOptions = {},
): WorkflowRun {
  const clock = options.clock ?? new VirtualClock();
  const calls: { name: string; payload: unknown; at: number }[] = [];
  const { substitutions = {} } = options;
  const workflows = new EmbeddedWorkflows({
    file: options.file ?? ":memory:",
    clock,
    random: options.random ?? new SeededRandom(1),
    log: silentLog,
    machines: Object.fromEntries(
      Object.entries(documents).map(([name, definition]) => [name, { definition, substitutions }]),
    ),
    invoke: async (name, payload) => {
      calls.push({ name, payload, at: clock.now() });
      const call = options.functions?.[name];
      if (call === undefined) throw Object.assign(new Error(`no function ${name}`), { name: "ResourceNotFound" });
      return call(payload);
    },
    ...(options.onTransition === undefined ? {} : { onTransition: options.onTransition }),
  });
  const ended = async (machine: string, name: string): Promise<ExecutionDescription> => {
    for (;;) {
      await clock.settle();
      const found = await workflows.describe(machine, name);
      if (found === undefined) throw new Error(`no execution ${name} of ${machine}`);
      if (found.status !== "RUNNING") return found;
      if (!(await clock.step())) throw new Error(`${name} of ${machine} hangs`);
    }
  };
  const run = async (input: unknown = {}): Promise<ExecutionDescription> => {
    const machine = Object.keys(documents)[0] ?? "";
    await workflows.start(machine, "m", JSON.stringify(input));
    return ended(machine, "m");
  };
  return { workflows, clock, calls, ended, run, close: () => clock.until(workflows.close()) };
}

/** A document of the states given, starting at the first. */
export function machineOf(states: Readonly<Record<string, unknown>>, more: object = {}): unknown {
  return { StartAt: Object.keys(states)[0], States: states, ...more };
}

/** A Task that calls `name` with the whole input and replaces the data by what it answers. */
export function taskOf(name: string, more: object = {}): object {
  return {
    Type: "Task",
    Resource: "arn:aws:states:::lambda:invoke",
    Parameters: { FunctionName: name, "Payload.$": "$" },
    ResultSelector: { "answer.$": "$.Payload" },
    OutputPath: "$.answer",
    ...("Next" in more ? {} : { End: true }),
    ...more,
  };
}

/** A Task that gives its token to `name` and waits for the answer. */
export function tokenTaskOf(name: string, more: object = {}): object {
  return {
    Type: "Task",
    Resource: "arn:aws:states:::lambda:invoke.waitForTaskToken",
    Parameters: { FunctionName: name, Payload: { "token.$": "$$.Task.Token", "input.$": "$" } },
    ...("Next" in more ? {} : { End: true }),
    ...more,
  };
}

/** The token in the payload of a `tokenTaskOf` call. */
export function tokenIn(payload: unknown): string {
  if (typeof payload === "object" && payload !== null && "token" in payload && typeof payload.token === "string") {
    return payload.token;
  }
  throw new TypeError("no token in the payload");
}
