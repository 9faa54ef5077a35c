import { chunkBytes, sectorBytesMin } from "#core/blocks/geometry.ts";
import type { ExtentColumns } from "./batch.ts";
import { coalesceBytesMax } from "./limits.ts";

/** What coalescing looks at; any columns with these serve. */
export type ExtentPlaces = Pick<ExtentColumns, "count" | "volume" | "offset" | "length">;

const sectorsPerWord = 32;
const wordsPerChunk = chunkBytes / sectorBytesMin / sectorsPerWord;

/** Chunk keys of two volumes never meet: chunk numbers stay below 2^34 (2^53 bytes of 2^19). */
const volumeStride = 2 ** 34;

/**
 * Which extents of one batch still show once all of them are applied: 1 keep, 0 drop. An extent is dropped only when
 * later ones cover every sector of it, so the image at the batch's end is the same byte for byte, and the last extent
 * always stays. A partly covered one is kept whole, in its place: newest wins by sequence when it is read.
 */
export function coalesce(extents: ExtentPlaces): Uint8Array {
  const keep = new Uint8Array(extents.count);
  const covered = new Map<number, Uint32Array>();
  for (let index = extents.count - 1; index >= 0; index -= 1) {
    const length = extents.length[index] ?? 0;
    const wide = length > coalesceBytesMax;
    keep[index] = wide || cover(covered, extents.volume[index] ?? 0, extents.offset[index] ?? 0, length) ? 1 : 0;
  }
  return keep;
}

/** Marks the extent's sectors; true when at least one of them was not marked before. */
function cover(covered: Map<number, Uint32Array>, volume: number, offset: number, length: number): boolean {
  let fresh = false;
  const end = offset + length;
  for (let start = offset; start < end; ) {
    const chunk = Math.floor(start / chunkBytes);
    const chunkStart = chunk * chunkBytes;
    const stop = Math.min(end, chunkStart + chunkBytes);
    const key = volume * volumeStride + chunk;
    let words = covered.get(key);
    if (words === undefined) {
      words = new Uint32Array(wordsPerChunk);
      covered.set(key, words);
    }
    if (markSectors(words, (start - chunkStart) / sectorBytesMin, (stop - chunkStart) / sectorBytesMin)) fresh = true;
    start = stop;
  }
  return fresh;
}

/** Sets bits `[from, to)`; true when one was clear. */
function markSectors(words: Uint32Array, from: number, to: number): boolean {
  let fresh = false;
  for (let sector = from; sector < to; ) {
    const word = sector >>> 5;
    const bit = sector & 31;
    const bits = Math.min(32 - bit, to - sector);
    const mask = bits === 32 ? 0xffff_ffff : (((1 << bits) - 1) << bit) >>> 0;
    const before = words[word] ?? 0;
    if ((~before & mask) !== 0) {
      fresh = true;
      words[word] = before | mask;
    }
    sector += bits;
  }
  return fresh;
}
