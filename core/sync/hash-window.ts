import { chunkBytes } from "#core/blocks/geometry.ts";
import { decodedFrameRoom, decodeFrame } from "#core/journal/frame.ts";
import type { ApartFrame } from "#core/recovery/view.ts";
import { hashChunk } from "./hash-chunk.ts";
import { blockHashBytes, hashBytes } from "./limits.ts";
import { blockCount } from "./pieces.ts";

/** Of chunks that follow each other: 32 bytes each, and 16 of each of their blocks (core/sync/hash-chunk.ts). */
export interface WindowHashes {
  readonly chunks: Uint8Array;
  readonly blocks: Uint8Array;
}

/** Room for a window of at most `hashWindowChunks` chunks; one's at a time. */
export interface WindowRoom {
  /** Another array after each `hash`, with the same bytes and those of the frames. */
  readonly window: Uint8Array;
  /**
   * Decodes the frames into the first `length` bytes and hashes these, whole chunks but for the last one of a volume. Throws `Corrupt`
   * for a frame that fails its checks; the window is then undefined.
   */
  hash(length: number, frames: readonly ApartFrame[]): Promise<WindowHashes>;
}

/** Where windows of an image are hashed: in the thread that read them, or in others. */
export interface WindowHasher {
  /** Windows that are worth reading at the same time. */
  readonly atOnce: number;
  /** Lends a room until `work` has ended; waits while all are lent. */
  use<T>(work: (room: WindowRoom) => Promise<T>): Promise<T>;
}

/** Each frame shows in the window before the next one is decoded. */
const decoded = Buffer.allocUnsafeSlow(decodedFrameRoom);

/** The work of a `WindowRoom`, in this thread. */
export function hashWindow(window: Uint8Array, frames: readonly ApartFrame[]): WindowHashes {
  for (const { info, stored, runs } of frames) {
    const raw = decodeFrame({ frames: [info] }, 0, stored, "stored", decoded);
    for (let at = 0; at < runs.length; at += 3) {
      const [offset = 0, length = 0, frameOffset = 0] = runs.subarray(at, at + 3);
      window.set(raw.subarray(frameOffset, frameOffset + length), offset);
    }
  }
  const chunks = new Uint8Array(Math.ceil(window.length / chunkBytes) * hashBytes);
  const blocks = new Uint8Array(blockCount(window.length) * blockHashBytes);
  for (let chunk = 0; chunk * chunkBytes < window.length; chunk += 1) {
    const start = chunk * chunkBytes;
    const hashed = hashChunk(window.subarray(start, start + chunkBytes));
    chunks.set(hashed.chunk, chunk * hashBytes);
    blocks.set(hashed.blocks, blockCount(start) * blockHashBytes);
  }
  return { chunks, blocks };
}

/** Hashes in this thread, one window after the other, in a room of so many bytes that is made at the first. */
export function hasherHere(windowBytes: number): WindowHasher {
  let window: Uint8Array | undefined;
  return {
    atOnce: 1,
    use: (work) => {
      const own = window ?? Buffer.allocUnsafeSlow(windowBytes);
      window = own;
      return work({ window: own, hash: async (length, frames) => hashWindow(own.subarray(0, length), frames) });
    },
  };
}
