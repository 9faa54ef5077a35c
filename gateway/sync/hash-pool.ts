import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Transient } from "#core/errors.ts";
import type { HashedChunk } from "#core/sync/hash-chunk.ts";
import { workerUrl } from "../worker-url.ts";

/** Main thread to worker; the buffer is transferred. */
export interface HashTask {
  readonly id: number;
  readonly buffer: ArrayBuffer;
  /** Bytes of the buffer that count. */
  readonly length: number;
}

/** Worker to main thread; the buffer is transferred back, unchanged. */
export interface HashAnswer extends HashedChunk {
  readonly id: number;
  readonly buffer: ArrayBuffer;
}

interface Waiting {
  /** Place of the worker that has the task. */
  readonly worker: number;
  readonly resolve: (answer: HashAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** SHA-256 in worker threads: one, or two where the machine has more than two processors. */
export class HashPool {
  readonly #workers: Worker[];
  readonly #waiting = new Map<number, Waiting>();
  #tasks = 0;
  #closed = false;

  constructor(threads = availableParallelism() > 2 ? 2 : 1) {
    this.#workers = Array.from({ length: threads }, (_, place) => this.#start(place));
  }

  /** Takes the buffer and gives it back with the hashes. Rejects when the pool is closed first, or its thread dies: the buffer is gone then. */
  hash(buffer: ArrayBuffer, length: number): Promise<HashAnswer> {
    const id = this.#tasks;
    this.#tasks += 1;
    const worker = id % this.#workers.length;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { worker, resolve, reject });
      const task: HashTask = { id, buffer, length };
      this.#workers[worker]?.postMessage(task, [buffer]);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    for (const waiting of this.#waiting.values()) waiting.reject(new Error("the hash workers were ended"));
    this.#waiting.clear();
  }

  #start(place: number): Worker {
    const worker = new Worker(workerUrl("sync/hash-worker"), { name: "hash" });
    worker.on("message", (answer: HashAnswer) => {
      this.#waiting.get(answer.id)?.resolve(answer);
      this.#waiting.delete(answer.id);
    });
    worker.on("error", (cause) => this.#died(place, cause));
    return worker;
  }

  /** A sync tries again what failed; the guests' disks are not its thread's to lose. */
  #died(place: number, cause: unknown): void {
    const message = cause instanceof Error ? cause.message : String(cause);
    for (const [id, waiting] of this.#waiting) {
      if (waiting.worker !== place) continue;
      this.#waiting.delete(id);
      waiting.reject(new Transient(`a hash worker died: ${message}`, {}, { cause }));
    }
    if (!this.#closed) this.#workers[place] = this.#start(place);
  }
}
