import type { Condition } from "./choice.ts";
import type { Expression } from "./intrinsics.ts";
import type { Json } from "./json.ts";
import type { Path } from "./paths.ts";
import type { Catcher, Retrier } from "./retry.ts";
import type { Template } from "./template.ts";

interface Common {
  readonly name: string;
}

/** InputPath and OutputPath; null stands for the empty object. */
interface Filtered extends Common {
  readonly inputPath: Path | null;
  readonly outputPath: Path | null;
}

/** `next` undefined means End. */
interface Leading extends Filtered {
  readonly next: string | undefined;
}

/** ResultPath: where the result goes in the state's input; null drops it. */
interface Producing extends Leading {
  readonly resultPath: Path | null;
}

interface Failing extends Producing {
  readonly resultSelector: Template | undefined;
  readonly retry: readonly Retrier[];
  readonly catch: readonly Catcher[];
}

/** Seconds as a constant or read from the state's input. */
export type Seconds = number | Path;

export interface PassState extends Producing {
  readonly type: "Pass";
  readonly parameters: Template | undefined;
  readonly result: Json | undefined;
}

export interface SucceedState extends Filtered {
  readonly type: "Succeed";
}

export interface FailState extends Common {
  readonly type: "Fail";
  readonly error: Expression | undefined;
  readonly cause: Expression | undefined;
}

export interface WaitState extends Leading {
  readonly type: "Wait";
  readonly until:
    | { readonly kind: "seconds"; readonly seconds: Seconds }
    | { readonly kind: "timestamp"; readonly timestamp: number | Path };
}

export interface ChoiceState extends Filtered {
  readonly type: "Choice";
  readonly choices: readonly { readonly condition: Condition; readonly next: string }[];
  readonly otherwise: string | undefined;
}

/** Calls a function by lambda:invoke; with `waitForToken` its result is what comes back with the task token. */
export interface TaskState extends Failing {
  readonly type: "Task";
  readonly waitForToken: boolean;
  readonly parameters: Template;
  readonly timeout: Seconds;
  readonly heartbeat: Seconds | undefined;
}

export interface MapState extends Failing {
  readonly type: "Map";
  readonly itemsPath: Path | null;
  readonly itemSelector: Template | undefined;
  readonly startAt: string;
  /** As the document states it, or where the input has it; 0 is as many as there may be. */
  readonly maxConcurrency: number | Path;
  /** Each item is an EXPRESS execution of its own; the first that fails fails the state. */
  readonly distributed: boolean;
}

export interface ParallelState extends Failing {
  readonly type: "Parallel";
  readonly parameters: Template | undefined;
  readonly branches: readonly string[];
}

export type State =
  | PassState
  | SucceedState
  | FailState
  | WaitState
  | ChoiceState
  | TaskState
  | MapState
  | ParallelState;

/** A whole document. State names are unique over all nested branches, so one map holds them. */
export interface Machine {
  readonly startAt: string;
  readonly timeoutSeconds: number | undefined;
  readonly states: ReadonlyMap<string, State>;
}
