/** Decodes stored frames and writes what shows of them into a file, in threads: one alone would wait for the decompressor. */
import { availableParallelism } from "node:os";
import { isMarkedAsUntransferable, Worker } from "node:worker_threads";
import { errorFromWire, Transient } from "#core/errors.ts";
import type { FrameInfo } from "#core/journal/batch.ts";
import type { StoredFrame } from "#core/recovery/image-stream.ts";
import { workerUrl } from "../worker-url.ts";
import { framesPerThreadMax, writeThreadsMax } from "./limits.ts";

export interface FrameToWrite {
  readonly info: FrameInfo;
  readonly stored: Uint8Array;
  /** Three numbers a run: where in the file, length, where in the frame's raw bytes. */
  readonly runs: Float64Array;
}

/** Frames that were read together; the memory they share is transferred. */
export type ToWriteWorker = readonly FrameToWrite[];

/** One answer a message, in order. */
export type FromWriteWorker =
  | { readonly kind: "written"; readonly frames: number; readonly dataBytes: number }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

interface Thread {
  readonly worker: Worker;
  /** Frames sent and not answered. */
  pending: number;
}

/** Writes into one open file. After an error it takes no more. */
export class FrameWriter {
  /** Bytes written, zeros left out. */
  dataBytes = 0;
  readonly #threads: Thread[];
  /** Frames of one read, until the first of another comes. */
  #gathered: StoredFrame[] = [];
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(fd: number) {
    const count = Math.min(writeThreadsMax, Math.max(1, availableParallelism()));
    this.#threads = Array.from({ length: count }, () => {
      const worker = new Worker(workerUrl("export/write-worker"), { workerData: { fd }, name: "write" });
      const thread = { worker, pending: 0 };
      worker.on("message", (message: FromWriteWorker) => this.#heard(thread, message));
      worker.on("error", (error) => this.#failed(error instanceof Error ? error : new Error(String(error))));
      worker.on("exit", () => this.#failed(new Transient("a thread that writes the file has ended")));
      return thread;
    });
  }

  /**
   * Resolves when there is room for another frame; rejects with the first error of any frame before. Frames whose `stored` is of one
   * buffer come one after the other, and nobody else uses it: it goes to the thread as it is.
   */
  async write(frame: StoredFrame): Promise<void> {
    if (this.#gathered[0]?.stored.buffer !== frame.stored.buffer) await this.#sendGathered();
    this.#gathered.push(frame);
  }

  /** Resolves when everything is written. Rejects with the first error. */
  async finish(): Promise<void> {
    await this.#sendGathered();
    while (this.#failure === undefined && this.#threads.some((thread) => thread.pending > 0)) await this.#change();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Ends the threads, done or not; nothing touches the file any more when it resolves. */
  async close(): Promise<void> {
    this.#failure ??= new Transient("the writer is closed");
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  async #sendGathered(): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const thread = this.#threads.reduce((least, each) => (each.pending < least.pending ? each : least));
      if (thread.pending < framesPerThreadMax) return this.#send(thread, this.#gathered.splice(0));
      await this.#change();
    }
  }

  #send(thread: Thread, frames: readonly StoredFrame[]): void {
    const [first] = frames;
    if (first === undefined) return;
    const { buffer } = first.stored;
    // Small reads may lie in Node's pool.
    const own = buffer instanceof ArrayBuffer && !isMarkedAsUntransferable(buffer);
    const message = frames.map(({ info, stored, runs }): FrameToWrite => {
      const numbers = runs.flatMap((run) => [run.offset, run.length, run.frameOffset]);
      return { info, stored: own ? stored : Uint8Array.from(stored), runs: Float64Array.from(numbers) };
    });
    thread.worker.postMessage(message, own ? [buffer] : []);
    thread.pending += frames.length;
  }

  #heard(thread: Thread, message: FromWriteWorker): void {
    if (message.kind === "written") {
      thread.pending -= message.frames;
      this.dataBytes += message.dataBytes;
    } else this.#failed(errorFromWire(message.name, message.message));
    this.#wake?.();
  }

  #failed(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
