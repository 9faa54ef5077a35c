import type { Clock } from "#core/ports.ts";
import { Abandoned, StatesFailure } from "./failure.ts";
import type { Frame } from "./frame.ts";
import { FrameTree } from "./frame-tree.ts";
import type { Json } from "./json.ts";
import type { Steps } from "./ledger.ts";
import { EXPRESS_MS_MAX } from "./limits.ts";
import { sleepUntil } from "./task.ts";

/**
 * The steps of an EXPRESS execution, an item of a DISTRIBUTED Map: they are in memory alone, and an execution that is cut off
 * begins again, as Step Functions runs them at least once. They are in no history either; its own is a log's matter there.
 */
export class ExpressSteps implements Steps {
  readonly row: Steps["row"];
  readonly frames: FrameTree;
  readonly root: Frame;
  readonly over: AbortSignal;

  /** Of the item that `child` stands for, in the execution of `parent`. */
  constructor(parent: Steps["row"], child: Frame, startedAt: number, over: AbortSignal) {
    const name = `${parent.name}:${child.index}`;
    this.row = { machine: parent.machine, name, input: JSON.stringify(child.input), started_at: startedAt };
    this.root = { ...child, id: 0, parent: undefined };
    this.frames = new FrameTree([this.root]);
    this.over = over;
  }

  /** Runs it for as long as an EXPRESS execution may; what it fails of counts only until then. */
  async bounded(clock: Clock, work: (signal: AbortSignal) => Promise<Json>): Promise<Json> {
    const ended = new AbortController();
    const signal = AbortSignal.any([this.over, ended.signal]);
    const limit = async (): Promise<never> => {
      await sleepUntil(clock, this.row.started_at + EXPRESS_MS_MAX, signal);
      throw new StatesFailure("States.Timeout", "");
    };
    try {
      return await Promise.race([work(signal), limit()]);
    } finally {
      ended.abort(new Abandoned("the execution has ended"));
    }
  }

  commit(_events: unknown, _put: unknown, remove: readonly Frame[] = []): void {
    this.over.throwIfAborted();
    for (const frame of remove) this.frames.delete(frame);
  }

  /** A document with a token in an EXPRESS execution is refused when it is read. */
  openToken(): void {}

  closeToken(): void {}
}
