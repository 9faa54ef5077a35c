import type { Json } from "./json.ts";

/** How a function or a token answered. */
export type Outcome =
  | { readonly result: Json }
  | { readonly error: string; readonly cause: string; readonly timedOut?: "task" | "heartbeat" };

/** Task under way: everything needed to call the function again after a crash, with the same token. */
export interface TaskPhase {
  readonly at: "task";
  readonly functionName: string;
  readonly payload: Json;
  readonly timeoutSeconds: number;
  /** Absolute; a plain invocation that is repeated after a crash gets its full time again, a token does not. */
  timeoutAt: number;
  readonly token: string | undefined;
  readonly heartbeatSeconds: number | undefined;
  /** The function of a token has returned; only the token is waited for. */
  submitted: boolean;
  /** What succeed or fail brought; the first one stays. */
  outcome: Outcome | undefined;
}

/** A Wait, or the time before a retry. */
export interface Pause {
  readonly at: "wait" | "retry";
  /** Absolute. */
  until: number;
  /** How long it was to be; absent in what older versions stored. */
  readonly ms?: number;
}

export type Phase =
  | { readonly at: "enter" }
  | TaskPhase
  | Pause
  /** A Map or Parallel with its children: each one's start and input, and for a Map its item. */
  | {
      readonly at: "children";
      readonly starts: readonly string[];
      readonly inputs: readonly Json[];
      /** Undefined for branches, and for items that are executions of their own. */
      readonly items: readonly Json[] | undefined;
      /** How many run at a time. */
      readonly atOnce: number;
    }
  | { readonly at: "done"; readonly output: Json }
  | { readonly at: "failed"; readonly error: string; readonly cause: string; readonly heartbeat: boolean };

/** One line of control: the execution itself (id 0), a Parallel branch or a Map iteration. Stored as a row. */
export interface Frame {
  readonly id: number;
  readonly parent: number | undefined;
  /** Place among its siblings. */
  readonly index: number;
  /** The Map item, for `$$.Map.Item`; undefined in a Parallel branch. */
  readonly item: Json | undefined;
  state: string;
  /** The state's input before InputPath. */
  input: Json;
  /** When the state was entered; undefined until then. */
  entered: number | undefined;
  /** Retries so far, by retrier. */
  retries: number[];
  phase: Phase;
}

/** One event of an execution's history, with the names of Step Functions and without data. */
export interface HistoryEvent {
  readonly id: number;
  readonly timestamp: number;
  readonly type: string;
  /** The state it is about; undefined for events of the execution. */
  readonly state: string | undefined;
  readonly details: Readonly<Record<string, string | number>>;
}

export type NewEvent = Omit<HistoryEvent, "id" | "timestamp">;

export function event(type: string, state?: string, details: HistoryEvent["details"] = {}): NewEvent {
  return { type, state, details };
}
