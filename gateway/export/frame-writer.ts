/** Decodes stored frames and writes what shows of them into a file, in threads: one alone would wait for the decompressor. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { errorFromWire, Transient } from "#core/errors.ts";
import type { FrameInfo } from "#core/journal/batch.ts";
import type { StoredFrame } from "#core/recovery/image-stream.ts";
import { workerUrl } from "../worker-url.ts";
import { framesPerThreadMax, writeThreadsMax } from "./limits.ts";

export interface ToWriteWorker {
  readonly info: FrameInfo;
  readonly stored: Uint8Array;
  /** Three numbers a run: where in the file, length, where in the frame's raw bytes. */
  readonly runs: Float64Array;
}

/** One answer a frame, in order. */
export type FromWriteWorker =
  | { readonly kind: "written"; readonly dataBytes: number }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

interface Thread {
  readonly worker: Worker;
  pending: number;
}

/** Writes into one open file. After an error it takes no more. */
export class FrameWriter {
  /** Bytes written, zeros left out. */
  dataBytes = 0;
  readonly #threads: Thread[];
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

  /** Resolves when there is room for another frame; rejects with the first error of any frame before. */
  async write(frame: StoredFrame): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const thread = this.#threads.reduce((least, each) => (each.pending < least.pending ? each : least));
      if (thread.pending < framesPerThreadMax) return this.#send(thread, frame);
      await this.#change();
    }
  }

  /** Resolves when everything is written. Rejects with the first error. */
  async finish(): Promise<void> {
    while (this.#failure === undefined && this.#threads.some((thread) => thread.pending > 0)) await this.#change();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Ends the threads, done or not; nothing touches the file any more when it resolves. */
  async close(): Promise<void> {
    this.#failure ??= new Transient("the writer is closed");
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #send(thread: Thread, frame: StoredFrame): void {
    const runs = new Float64Array(frame.runs.length * 3);
    frame.runs.forEach((run, index) => {
      runs.set([run.offset, run.length, run.frameOffset], index * 3);
    });
    // A copy of its own: the frame may be a part of a longer read.
    const stored = Uint8Array.from(frame.stored);
    const message: ToWriteWorker = { info: frame.info, stored, runs };
    thread.worker.postMessage(message, [stored.buffer, runs.buffer]);
    thread.pending += 1;
  }

  #heard(thread: Thread, message: FromWriteWorker): void {
    thread.pending -= 1;
    if (message.kind === "written") this.dataBytes += message.dataBytes;
    else this.#failed(errorFromWire(message.name, message.message));
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
