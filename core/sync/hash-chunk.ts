import { chunkBytes } from "#core/blocks/geometry.ts";
import { isZero } from "#core/blocks/zeros.ts";
import { sha256, sha256Latin1 } from "#core/journal/hash.ts";
import { blockBytes, blockHashBytes, hashBytes } from "./limits.ts";

/** By what two sides compare a chunk: as a whole, and block by block when it differs. */
export interface HashedChunk {
  /** SHA-256 over the SHA-256 of each of its blocks, 32 bytes: one pass over the bytes gives both. */
  readonly chunk: Uint8Array;
  /** The first 16 bytes of each block's SHA-256, in order. */
  readonly blocks: Uint8Array;
}

const zeroBlock = sha256Latin1(new Uint8Array(blockBytes));
/** Of the block hashes of one chunk, 32 bytes each; no call leaves anything in it. */
const room = Buffer.allocUnsafeSlow((chunkBytes / blockBytes) * hashBytes);
const zeroChunks = new Map<number, HashedChunk>();

/** Hashes a chunk of 1 to 512 KiB; the last block of a volume's last chunk may be short. */
export function hashChunk(bytes: Uint8Array): HashedChunk {
  return isZero(bytes) ? hashedZeros(bytes.length) : hashBlocks(bytes);
}

/** Of a chunk of so many zeros: the few lengths there are stay at hand. */
export function hashedZeros(length: number): HashedChunk {
  const known = zeroChunks.get(length);
  if (known !== undefined) return known;
  const hashed = hashBlocks(new Uint8Array(length));
  zeroChunks.set(length, hashed);
  return hashed;
}

function hashBlocks(bytes: Uint8Array): HashedChunk {
  let joined = "";
  for (let start = 0; start < bytes.length; start += blockBytes) {
    const block = bytes.subarray(start, start + blockBytes);
    const zero = block[0] === 0 && block.length === blockBytes && isZero(block);
    joined += zero ? zeroBlock : sha256Latin1(block);
  }
  room.write(joined, "latin1");
  const blocks = new Uint8Array((joined.length / hashBytes) * blockHashBytes);
  for (let at = 0; at < joined.length; at += hashBytes) {
    blocks.set(room.subarray(at, at + blockHashBytes), (at / hashBytes) * blockHashBytes);
  }
  return { chunk: sha256(room.subarray(0, joined.length)), blocks };
}

/** The hash of each block of several chunks, in order, together. */
export function blockHashesOf(bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; start += chunkBytes) {
    parts.push(hashChunk(bytes.subarray(start, start + chunkBytes)).blocks);
  }
  return Buffer.concat(parts);
}
