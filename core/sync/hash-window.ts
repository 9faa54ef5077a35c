import { chunkBytes } from "#core/blocks/geometry.ts";
import { decodedFrameRoom, decodeFrame } from "#core/journal/frame.ts";
import type { ApartRead } from "#core/recovery/view.ts";
import { hashChunk } from "./hash-chunk.ts";
import { blockHashBytes, hashBytes } from "./limits.ts";
import { blockCount } from "./pieces.ts";

/** Of chunks that follow each other: 32 bytes each, and 16 of each of their blocks (core/sync/hash-chunk.ts). */
export interface WindowHashes {
  readonly chunks: Uint8Array;
  readonly blocks: Uint8Array;
}

/** Decodes what was read and hashes it, at most `hashWindowChunks` whole chunks but for the last one of a volume. Throws `Corrupt` for a frame that fails its checks. */
export type HashWindow = (read: ApartRead) => Promise<WindowHashes>;

/** Where windows of an image are hashed: in the thread that read them, or in others. */
export interface WindowHasher {
  /** Windows that are worth reading at the same time. */
  readonly atOnce: number;
  /** Calls `work`, which reads a window and has it hashed; waits while as many as there is room for are under way. */
  use<T>(work: (hash: HashWindow) => Promise<T>): Promise<T>;
}

/** Each frame shows in the window before the next one is decoded. */
const decoded = Buffer.allocUnsafeSlow(decodedFrameRoom);

/** A `HashWindow`'s work. `room` has at least as many bytes as were read. */
export function hashWindow({ length, frames, pieces }: ApartRead, room: Uint8Array): WindowHashes {
  const window = room.subarray(0, length);
  // What nothing shows in is zeros, and what was there before is another window's.
  window.fill(0);
  for (const { at, bytes } of pieces) window.set(bytes, at);
  for (const { info, stored, runs } of frames) {
    const raw = decodeFrame({ frames: [info] }, 0, stored, "stored", decoded);
    for (let run = 0; run < runs.length; run += 3) {
      const [at = 0, bytes = 0, frameOffset = 0] = runs.subarray(run, run + 3);
      window.set(raw.subarray(frameOffset, frameOffset + bytes), at);
    }
  }
  const chunks = new Uint8Array(Math.ceil(length / chunkBytes) * hashBytes);
  const blocks = new Uint8Array(blockCount(length) * blockHashBytes);
  for (let chunk = 0; chunk * chunkBytes < length; chunk += 1) {
    const start = chunk * chunkBytes;
    const hashed = hashChunk(window.subarray(start, start + chunkBytes));
    chunks.set(hashed.chunk, chunk * hashBytes);
    blocks.set(hashed.blocks, blockCount(start) * blockHashBytes);
  }
  return { chunks, blocks };
}

/** Hashes in this thread, one window after the other, in a room of so many bytes that is made at the first. */
export function hasherHere(windowBytes: number): WindowHasher {
  let room: Uint8Array | undefined;
  const hash: HashWindow = async (read) => {
    room ??= Buffer.allocUnsafeSlow(windowBytes);
    return hashWindow(read, room);
  };
  return { atOnce: 1, use: (work) => work(hash) };
}
