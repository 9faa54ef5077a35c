import { hashChunk } from "#core/sync/hash-chunk.ts";
import type { HashAnswer } from "../../gateway/sync/hash-pool.ts";
import type { ChunkHasher } from "../../gateway/sync/volume-sync.ts";

/** The hash worker's work without its thread, a turn of the event loop later. */
export class SimHasher implements ChunkHasher {
  hash(buffer: ArrayBuffer, length: number): Promise<HashAnswer> {
    return new Promise((resolve) => {
      setImmediate(() => {
        resolve({ buffer, ...hashChunk(new Uint8Array(buffer, 0, length)) });
      });
    });
  }

  async close(): Promise<void> {}
}
