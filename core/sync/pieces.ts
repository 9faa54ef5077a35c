import { chunkBytes, chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { isZero } from "#core/blocks/zeros.ts";
import { sha256 } from "#core/journal/hash.ts";
import { subChunkBytes } from "./limits.ts";

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

/** How many sub-chunks a chunk of `length` bytes has; the last may be short. */
export function subChunkCount(length: number): number {
  return Math.ceil(length / subChunkBytes);
}

/** SHA-256 of each sub-chunk, in order, together. */
export function subHashesOf(chunk: Uint8Array): Uint8Array {
  const hashes = new Uint8Array(subChunkCount(chunk.length) * 32);
  for (let index = 0; index * subChunkBytes < chunk.length; index += 1) {
    hashes.set(sha256(chunk.subarray(index * subChunkBytes, (index + 1) * subChunkBytes)), index * 32);
  }
  return hashes;
}

/**
 * What of a chunk to ship: the sub-chunks that differ, zeros as zero records, neighbours of a kind joined.
 * `differs` says of a sub-chunk by number whether the target lacks it.
 */
export function piecesOf(chunk: Uint8Array, differs: (subChunk: number) => boolean): readonly Piece[] {
  const pieces: Piece[] = [];
  for (let start = 0; start < chunk.length; start += subChunkBytes) {
    if (!differs(start / subChunkBytes)) continue;
    const end = Math.min(start + subChunkBytes, chunk.length);
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
