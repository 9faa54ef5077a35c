import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { workerUrl } from "../worker-url.ts";

export type HashGrain = "chunk" | "sub-chunk";

/** Main thread to worker; the buffer is transferred. */
export interface HashTask {
  readonly id: number;
  readonly buffer: ArrayBuffer;
  /** Bytes of the buffer that count. */
  readonly length: number;
  readonly grain: HashGrain;
}

/** Worker to main thread; the buffer is transferred back, unchanged. */
export interface HashAnswer {
  readonly id: number;
  readonly buffer: ArrayBuffer;
  /** 32 bytes for the chunk, or for each sub-chunk. */
  readonly hashes: Uint8Array;
}

interface Waiting {
  readonly resolve: (answer: HashAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** SHA-256 in worker threads: one, or two where the machine has more than two processors. */
export class HashPool {
  readonly #workers: readonly Worker[];
  readonly #waiting = new Map<number, Waiting>();
  #tasks = 0;

  constructor(threads = availableParallelism() > 2 ? 2 : 1) {
    this.#workers = Array.from({ length: threads }, () => this.#start());
  }

  /** Takes the buffer and gives it back with the hashes. Rejects when the pool is closed first. */
  hash(buffer: ArrayBuffer, length: number, grain: HashGrain): Promise<HashAnswer> {
    const id = this.#tasks;
    this.#tasks += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const task: HashTask = { id, buffer, length, grain };
      this.#workers[id % this.#workers.length]?.postMessage(task, [buffer]);
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    for (const waiting of this.#waiting.values()) waiting.reject(new Error("the hash workers were ended"));
    this.#waiting.clear();
  }

  #start(): Worker {
    const worker = new Worker(workerUrl("sync/hash-worker"), { name: "hash" });
    worker.on("message", (answer: HashAnswer) => {
      this.#waiting.get(answer.id)?.resolve(answer);
      this.#waiting.delete(answer.id);
    });
    // No listener for "error": a thread that dies of a fault of ours ends the process, and the next start syncs.
    return worker;
  }
}
