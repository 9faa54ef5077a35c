import type { Clock, Random } from "#core/ports.ts";
import { Abandoned } from "./failure.ts";
import { event, type Frame, type HistoryEvent, type NewEvent, type Outcome } from "./frame.ts";
import { FrameTree } from "./frame-tree.ts";
import type { Json } from "./json.ts";
import { HISTORY_EVENTS_MAX } from "./limits.ts";
import type { Ending, ExecutionRow, WorkflowStore } from "./store.ts";
import { OpenToken } from "./task.ts";

/** What an execution needs of its interpreter. */
export interface Host {
  readonly store: WorkflowStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly tokens: Map<string, OpenToken>;
  readonly call: (functionName: string, payload: Json) => Promise<Outcome>;
  /** Tells of an event that is durable now. When it throws, the interpreter has halted. */
  readonly emit: (execution: ExecutionRow, event: HistoryEvent) => void;
}

/** What an execution that takes its steps needs: a standard one's are durable (`Ledger`), an express one's are not (`ExpressSteps`). */
export interface Steps {
  readonly row: Pick<ExecutionRow, "machine" | "name" | "input" | "started_at">;
  readonly frames: FrameTree;
  readonly over: AbortSignal;
  commit(events: readonly NewEvent[], put: readonly Frame[], remove?: readonly Frame[]): void;
  openToken(frame: Frame): void;
  closeToken(frame: Frame): void;
}

/** What is durable of one running execution: its frames, history, end and open tokens. Every change goes through here. */
export class Ledger implements Steps {
  readonly row: ExecutionRow;
  readonly frames: FrameTree;
  readonly #host: Host;
  readonly #over = new AbortController();
  #lastEvent: number;

  constructor(host: Host, row: ExecutionRow, frames: readonly Frame[]) {
    this.#host = host;
    this.row = row;
    this.frames = new FrameTree(frames);
    this.#lastEvent = host.store.lastEvent(row.id);
    const now = host.clock.now();
    for (const frame of frames) {
      const { phase } = frame;
      // A clock that was ahead when they were stored, and has been set right, makes no wait longer than it was meant to be.
      if (phase.at === "wait" || phase.at === "retry")
        phase.until = Math.min(phase.until, now + (phase.ms ?? Infinity));
      if (phase.at !== "task") continue;
      const inFull = now + phase.timeoutSeconds * 1000;
      // The function is called afresh, so its time starts afresh; a token keeps the deadline it was given out with.
      phase.timeoutAt = phase.token === undefined ? inFull : Math.min(phase.timeoutAt, inFull);
      this.openToken(frame);
    }
  }

  /** Aborted with `Abandoned` when the execution has ended or is no longer run here. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Makes a step durable, then tells of it. Throws `Abandoned` when the execution is over. */
  commit(events: readonly NewEvent[], put: readonly Frame[], remove: readonly Frame[] = []): void {
    this.over.throwIfAborted();
    if (this.#lastEvent + events.length >= HISTORY_EVENTS_MAX) {
      const cause = `The execution reached the maximum number of history events (${HISTORY_EVENTS_MAX}).`;
      this.fail("States.Runtime", cause);
      throw new Abandoned(cause);
    }
    const timestamp = this.#host.clock.now();
    const stamped = events.map((item, i) => ({ ...item, id: this.#lastEvent + i + 1, timestamp }));
    this.#host.store.commit(this.row.id, { events: stamped, put, remove: remove.map((frame) => frame.id) });
    this.#lastEvent += events.length;
    for (const frame of remove) {
      this.frames.delete(frame);
      this.closeToken(frame);
    }
    for (const item of stamped) this.#host.emit(this.row, item);
  }

  /** Records the end, once; whatever runs is abandoned. Throws `Abandoned` when it is over already. */
  end(ending: Ending, last: NewEvent): void {
    this.over.throwIfAborted();
    const at = this.#host.clock.now();
    const stamped = { ...last, id: this.#lastEvent + 1, timestamp: at };
    this.#host.store.commit(this.row.id, { events: [stamped], ending: { ...ending, at } });
    this.abandon();
    this.#host.emit(this.row, stamped);
  }

  fail(error: string, cause: string): void {
    this.end({ status: "FAILED", error, cause }, event("ExecutionFailed", undefined, { error, cause }));
  }

  /** Stops working on it without recording anything; it stays as the store has it. */
  abandon(): void {
    for (const frame of this.frames.all()) this.closeToken(frame);
    this.#over.abort(new Abandoned(`execution ${this.row.name} is no longer run here`));
  }

  /** Lets a frame's task token be answered, unless it has been. */
  openToken(frame: Frame): void {
    const { phase } = frame;
    if (phase.at !== "task" || phase.token === undefined || phase.outcome !== undefined) return;
    const save = (outcome: Outcome): void => {
      phase.outcome = outcome;
      try {
        this.commit([], [frame]);
      } catch (error) {
        phase.outcome = undefined;
        throw error;
      }
      this.closeToken(frame);
    };
    this.#host.tokens.set(phase.token, new OpenToken(phase, this.#host.clock, save));
  }

  closeToken(frame: Frame): void {
    if (frame.phase.at === "task" && frame.phase.token !== undefined) this.#host.tokens.delete(frame.phase.token);
  }
}
