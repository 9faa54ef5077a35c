import { chunkBytes, chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { isZero } from "#core/blocks/zeros.ts";
import { sha256 } from "#core/journal/hash.ts";
import { blockBytes, blockHashBytes } from "./limits.ts";

/** A run of a chunk that the target lacks. */
export interface Piece {
  /** Bytes into the chunk. */
  readonly start: number;
  readonly length: number;
  readonly zero: boolean;
}

/** Length of a chunk; the last of a volume may be short. */
export function chunkLength(sizeBytes: number, chunk: number): number {
  return Math.min(chunkBytes, sizeBytes - chunk * chunkBytes);
}

/** How many chunks a page of the volume has, and so hashes in the answer to a request for the page. */
export function chunksOfPage(sizeBytes: number, page: number): number {
  return Math.min(chunksPerPage, chunkCount(sizeBytes) - page * chunksPerPage);
}

/** How many blocks a chunk of `length` bytes has; the last may be short. */
export function blockCount(length: number): number {
  return Math.ceil(length / blockBytes);
}

const zeroBlockHash = sha256(new Uint8Array(blockBytes)).subarray(0, blockHashBytes);

/** The hash of each block of a chunk, or of several, in order, together. */
export function blockHashesOf(bytes: Uint8Array): Uint8Array {
  const hashes = new Uint8Array(blockCount(bytes.length) * blockHashBytes);
  for (let index = 0; index * blockBytes < bytes.length; index += 1) {
    const block = bytes.subarray(index * blockBytes, (index + 1) * blockBytes);
    const zero = block.length === blockBytes && isZero(block);
    hashes.set(zero ? zeroBlockHash : sha256(block).subarray(0, blockHashBytes), index * blockHashBytes);
  }
  return hashes;
}

/** In an answer: what stands for the hash of bytes that can't be read. No bytes have it, so that they are shipped whole. */
export const unreadableByte = 0xff;

/** True of hashes that stand for a chunk that can't be read. */
export function areUnreadable(hashes: Uint8Array): boolean {
  return hashes.every((byte) => byte === unreadableByte);
}

/** True when the block's hash is another one on the two sides. */
export function blockDiffers(left: Uint8Array, right: Uint8Array, block: number): boolean {
  for (let at = block * blockHashBytes; at < (block + 1) * blockHashBytes; at += 1) {
    if (left[at] !== right[at]) return true;
  }
  return false;
}

/**
 * What of a chunk to ship: the parts of `grain` bytes that differ, zeros as zero records, neighbours of a kind joined. What is equal
 * between two runs is never shipped to join them: a record more is 24 bytes, the smallest gap is a block.
 * `differs` says of a part by number whether the target lacks it.
 */
export function piecesOf(chunk: Uint8Array, grain: number, differs: (part: number) => boolean): readonly Piece[] {
  const pieces: Piece[] = [];
  for (let start = 0; start < chunk.length; start += grain) {
    if (!differs(start / grain)) continue;
    const end = Math.min(start + grain, chunk.length);
    const zero = isZero(chunk.subarray(start, end));
    const last = pieces.at(-1);
    if (last !== undefined && last.zero === zero && last.start + last.length === start) {
      pieces[pieces.length - 1] = { ...last, length: end - last.start };
    } else {
      pieces.push({ start, length: end - start, zero });
    }
  }
  return pieces;
}
