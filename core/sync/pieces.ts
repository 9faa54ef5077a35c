import { chunkBytes, chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { isZero } from "#core/blocks/zeros.ts";
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

/** Where the blocks of a chunk that differ by their hashes stand, neighbours joined. */
export function differingRuns(
  length: number,
  left: Uint8Array,
  right: Uint8Array,
): readonly { readonly start: number; readonly length: number }[] {
  const runs: { start: number; length: number }[] = [];
  for (let block = 0; block < blockCount(length); block += 1) {
    if (!blockDiffers(left, right, block)) continue;
    const start = block * blockBytes;
    const bytes = Math.min(blockBytes, length - start);
    const last = runs.at(-1);
    if (last !== undefined && last.start + last.length === start) last.length += bytes;
    else runs.push({ start, length: bytes });
  }
  return runs;
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
