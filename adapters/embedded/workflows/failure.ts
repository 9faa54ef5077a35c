import type { Json } from "./json.ts";

/** An error inside a state machine: what Retry, Catch and the execution's end see. Never leaves the interpreter. */
export class StatesFailure extends Error {
  readonly error: string;
  readonly reason: string;
  /** A missed heartbeat is reported as States.Timeout, yet States.HeartbeatTimeout matches it too. */
  readonly heartbeat: boolean;

  constructor(error: string, reason: string, heartbeat = false) {
    super(`${error}: ${reason}`);
    this.error = error;
    this.reason = reason;
    this.heartbeat = heartbeat;
  }

  /** The error output that a Catch puts into the data. */
  output(): Json {
    return { Error: this.error, Cause: this.reason };
  }
}

/** Paths that select nothing and values of the wrong kind: ends the execution, whatever Retry and Catch say. */
export function runtimeFailure(reason: string): StatesFailure {
  return new StatesFailure("States.Runtime", reason);
}

/** Work was given up because its execution ended, a sibling branch failed, or the interpreter stopped. Writes nothing more. */
export class Abandoned extends Error {}
