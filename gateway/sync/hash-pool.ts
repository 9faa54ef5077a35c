import { availableParallelism } from "node:os";
import type { HashedChunk } from "#core/sync/hash-chunk.ts";
import { WorkerPool } from "../worker-pool.ts";

/** The buffer is transferred. */
export interface HashTask {
  readonly buffer: ArrayBuffer;
  /** Bytes of the buffer that count. */
  readonly length: number;
}

/** The buffer is transferred back, unchanged. */
export interface HashAnswer extends HashedChunk {
  readonly buffer: ArrayBuffer;
}

/** SHA-256 in worker threads: one, or two where the machine has more than two processors. */
export class HashPool {
  readonly #pool: WorkerPool<HashTask, HashAnswer>;

  constructor(threads = availableParallelism() > 2 ? 2 : 1) {
    this.#pool = new WorkerPool("sync/hash-worker", "hash", threads);
  }

  /** Takes the buffer and gives it back with the hashes. Rejects when the pool is closed first, or its thread dies: the buffer is gone then. */
  hash(buffer: ArrayBuffer, length: number): Promise<HashAnswer> {
    return this.#pool.run({ buffer, length }, [buffer]);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
