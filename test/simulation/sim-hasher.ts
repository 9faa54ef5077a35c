import { sha256 } from "#core/journal/hash.ts";
import { blockHashesOf } from "#core/sync/pieces.ts";
import type { HashAnswer, HashGrain } from "../../gateway/sync/hash-pool.ts";
import type { ChunkHasher } from "../../gateway/sync/volume-sync.ts";

/** The hash worker's work without its thread, a turn of the event loop later. */
export class SimHasher implements ChunkHasher {
  hash(buffer: ArrayBuffer, length: number, grain: HashGrain): Promise<HashAnswer> {
    return new Promise((resolve) => {
      setImmediate(() => {
        const bytes = new Uint8Array(buffer, 0, length);
        const hashes = Uint8Array.from(grain === "chunk" ? sha256(bytes) : blockHashesOf(bytes));
        resolve({ id: 0, buffer, hashes });
      });
    });
  }

  async close(): Promise<void> {}
}
