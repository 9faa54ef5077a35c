import { chunkBytes, chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { type FarshoreError, InvalidInput, NotFound } from "#core/errors.ts";
import { isDamage } from "#core/journal/damage.ts";
import { bytesEqual } from "#core/journal/hash.ts";
import type { Position } from "#core/journal/position.ts";
import { concurrently } from "#core/recovery/concurrently.ts";
import type { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import { type HashedChunk, hashChunk, hashedZeros } from "./hash-chunk.ts";
import { hasherHere, type WindowHasher } from "./hash-window.ts";
import { type BlocksPlace, KeptBlocks } from "./kept-blocks.ts";
import { blockHashBytes, hashBytes, hashWindowChunks, keptBlockHashBytesMax } from "./limits.ts";
import { blockCount, chunkLength, chunksOfPage, unreadableByte } from "./pieces.ts";

export interface ChunkHashesAsk {
  readonly volume: number;
  /** Size of the volume at the position, bytes. */
  readonly sizeBytes: number;
  /** Number of the page (1 GiB) in the volume. */
  readonly page: number;
  /** Everything at or before it is in the image. */
  readonly upTo: Position;
  /** Chunk numbers inside the page whose blocks' hashes are wanted instead, in the order wanted. */
  readonly blocksOf?: readonly number[] | undefined;
  /** Chunk numbers inside the page that matter, ascending, when not all do: the hashes of others are undefined. */
  readonly only?: readonly number[] | undefined;
  /** Called between the pieces of work (16 MiB): lets everybody else run who shares the thread. */
  readonly pause?: () => Promise<void>;
  /**
   * Whose blocks' hashes will be asked for next, by a chunk's number inside the page and its hash: they are kept until then.
   * `page-by-page`: whose isn't known yet, of all of the page until the page after next is hashed. Zeros are as quickly hashed again.
   */
  readonly keeps?: ((chunk: number, hash: Uint8Array) => boolean) | "page-by-page";
  /** Where what was read is decoded and hashed: this thread by default. */
  readonly hasher?: WindowHasher | undefined;
  /** Told of each object that is damaged, once. */
  readonly damaged?: (error: FarshoreError) => void;
}

/** Reads what it can, and knows whom to tell of what it can't. */
interface Reading {
  readonly view: View;
  readonly hasher: WindowHasher;
  readonly pause: () => Promise<void>;
  readonly damaged: (error: FarshoreError) => void;
}

/**
 * Hashes of what an image holds (core/sync/hash-chunk.ts): 32 bytes of every chunk (512 KiB) of a page, or 16 of every block (4 KiB) of
 * the chunks asked for, in their order. The last one of a volume may be short. What reads as zeros by the index alone costs nothing. Where an object of the
 * journal is damaged, `unreadableByte`s stand for the hashes of just the chunks that need it: what is shipped for them lies over it.
 * Throws `InvalidInput` outside the volume, and what else the journal's reader throws.
 */
export async function chunkHashes(reader: JournalReader, ask: ChunkHashesAsk): Promise<Uint8Array> {
  const { volume, sizeBytes, page, upTo } = ask;
  if (!(page >= 0 && page * chunksPerPage < chunkCount(sizeBytes))) {
    throw new InvalidInput(`a volume of ${sizeBytes} bytes has no page ${page}`, { page, sizeBytes });
  }
  const view = new View({ reader, volume, sizeBytes, upTo, asksOnce: true });
  const told = new Set<unknown>();
  const damaged = (error: FarshoreError): void => {
    const what = error.details["key"] ?? error.message;
    if (!told.has(what)) ask.damaged?.(error);
    told.add(what);
  };
  const kept = keptBlocksOf(reader);
  const place = (chunk: number): BlocksPlace => ({ volume, chunk: page * chunksPerPage + chunk, upTo });
  const windowBytes = Math.min(hashWindowChunks, chunksOfPage(sizeBytes, page)) * chunkBytes;
  const { hasher = hasherHere(windowBytes), pause = async () => undefined } = ask;
  const reading = { view, hasher, pause, damaged };
  if (ask.blocksOf !== undefined) {
    return hashesOfBlocks(reading, page, ask.blocksOf, (chunk) => kept.take(place(chunk)));
  }
  const { keeps = () => false } = ask;
  if (keeps === "page-by-page") kept.beginPage(volume, page, upTo);
  return hashesOfPage(reading, page, ask.only, (chunk, hashed) => {
    if (bytesEqual(hashed.chunk, hashedZeros(chunkLength(sizeBytes, page * chunksPerPage + chunk)).chunk)) return;
    // A copy of their own: what they were answered in holds those of a window.
    if (keeps === "page-by-page" || keeps(chunk, hashed.chunk)) kept.keep(place(chunk), hashed.blocks.slice());
  });
}

const kepts = new WeakMap<JournalReader, KeptBlocks>();

function keptBlocksOf(reader: JournalReader): KeptBlocks {
  const kept = kepts.get(reader) ?? new KeptBlocks(keptBlockHashBytesMax);
  kepts.set(reader, kept);
  return kept;
}

async function hashesOfPage(
  reading: Reading,
  page: number,
  only: readonly number[] | undefined,
  hashed: (chunk: number, hashes: HashedChunk) => void,
): Promise<Uint8Array> {
  const { view, hasher } = reading;
  const chunks = chunksOfPage(view.sizeBytes, page);
  const hashes = new Uint8Array(chunks * hashBytes);
  const pageIsEmpty = await unlessDamaged(reading, () => view.isEmptyPage(page));
  if (pageIsEmpty === undefined) return hashes.fill(unreadableByte);
  const firsts = Array.from({ length: Math.ceil(chunks / hashWindowChunks) }, (_, window) => window * hashWindowChunks);
  const wanted = only && new Set(only.map((chunk) => chunk - (chunk % hashWindowChunks)));
  const windows = firsts.filter((first) => wanted?.has(first) !== false);
  await concurrently(windows, hasher.atOnce, async (first) => {
    const offset = (page * chunksPerPage + first) * chunkBytes;
    const length = Math.min(hashWindowChunks * chunkBytes, (chunks - first) * chunkBytes, view.sizeBytes - offset);
    const zero = pageIsEmpty || (await unlessDamaged(reading, () => view.isZeroRange(offset, length))) === true;
    const found = zero ? undefined : await hashesOfWindow(reading, offset, length);
    for (let at = 0; at < length; at += chunkBytes) {
      const chunk = first + at / chunkBytes;
      const one = found === undefined ? hashedZeros(Math.min(chunkBytes, length - at)) : found[at / chunkBytes];
      if (one === undefined) hashes.fill(unreadableByte, chunk * hashBytes, (chunk + 1) * hashBytes);
      else {
        hashes.set(one.chunk, chunk * hashBytes);
        hashed(chunk, one);
      }
    }
  });
  return hashes;
}

async function hashesOfBlocks(
  reading: Reading,
  page: number,
  wanted: readonly number[],
  known: (chunk: number) => Uint8Array | undefined,
): Promise<Uint8Array> {
  const { view, hasher } = reading;
  const chunks = chunksOfPage(view.sizeBytes, page);
  const stray = wanted.find((chunk) => !(chunk >= 0 && chunk < chunks));
  if (stray !== undefined) throw new InvalidInput(`page ${page} has no chunk ${stray}`, { chunk: stray });
  const parts = wanted.map(known);
  const unknown = [...wanted.keys()].filter((place) => parts[place] === undefined);
  const read = unknown.map((place) => wanted[place] ?? 0);
  const hasIndex = unknown.length === 0 || (await unlessDamaged(reading, () => view.isEmptyPage(page))) !== undefined;
  await concurrently(runsOf(read), hasher.atOnce, async ({ from, count }) => {
    const first = page * chunksPerPage + (read[from] ?? 0);
    const length = (count - 1) * chunkBytes + chunkLength(view.sizeBytes, first + count - 1);
    const found = hasIndex ? await hashesOfWindow(reading, first * chunkBytes, length) : [];
    for (let at = 0; at < count; at += 1) {
      const size = Math.min(chunkBytes, length - at * chunkBytes);
      parts[unknown[from + at] ?? 0] = found[at]?.blocks ?? unreadableBlocks(size);
    }
  });
  return Buffer.concat(parts.filter((part) => part !== undefined));
}

/**
 * Of chunks that follow each other, at most a window: read together, since a frame of scattered writes shows in many of them, and one
 * by one when that fails. Undefined for those that can't be read.
 */
async function hashesOfWindow(
  reading: Reading,
  offset: number,
  length: number,
): Promise<readonly (HashedChunk | undefined)[]> {
  try {
    const { chunks, blocks } = await reading.hasher.use(async (hash) => {
      const read = await reading.view.readApart(offset, length);
      await reading.pause();
      return hash(read);
    });
    const perChunk = blockCount(chunkBytes) * blockHashBytes;
    return Array.from({ length: Math.ceil(length / chunkBytes) }, (_, chunk) => ({
      chunk: chunks.subarray(chunk * hashBytes, (chunk + 1) * hashBytes),
      blocks: blocks.subarray(chunk * perChunk, (chunk + 1) * perChunk),
    }));
  } catch (error) {
    if (!isDamage(error)) throw error;
    return hashedOneByOne(reading, offset, length);
  }
}

async function hashedOneByOne(
  reading: Reading,
  offset: number,
  length: number,
): Promise<readonly (HashedChunk | undefined)[]> {
  const found: (HashedChunk | undefined)[] = [];
  for (let at = 0; at < length; at += chunkBytes) {
    const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, length - at));
    const hashed = await unlessDamaged(reading, async () => {
      await reading.view.read(offset + at, chunk);
      return hashChunk(chunk);
    });
    found.push(hashed);
    await reading.pause();
  }
  return found;
}

/** Undefined when an object that it needs is damaged, which is told; one that packs have taken the place of since isn't. */
async function unlessDamaged<T>({ view, damaged }: Reading, look: () => Promise<T>): Promise<T | undefined> {
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (!isDamage(error)) throw error;
      if (error instanceof NotFound && (await view.freshen())) continue;
      damaged(error);
      return undefined;
    }
  }
}

function unreadableBlocks(length: number): Uint8Array {
  return new Uint8Array(blockCount(length) * blockHashBytes).fill(unreadableByte);
}

/** Where chunks follow each other, at most a window of them: places in the list. */
function runsOf(chunks: readonly number[]): readonly { readonly from: number; readonly count: number }[] {
  const runs: { from: number; count: number }[] = [];
  for (const [place, chunk] of chunks.entries()) {
    const last = runs.at(-1);
    const follows = last !== undefined && chunk === (chunks[last.from] ?? 0) + last.count;
    if (follows && last.count < hashWindowChunks) last.count += 1;
    else runs.push({ from: place, count: 1 });
  }
  return runs;
}
