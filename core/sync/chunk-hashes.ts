import { chunkBytes, chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { type FarshoreError, InvalidInput, NotFound } from "#core/errors.ts";
import { isDamage } from "#core/journal/damage.ts";
import type { Position } from "#core/journal/position.ts";
import type { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import { type HashedChunk, hashChunk, hashedZeros } from "./hash-chunk.ts";
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
  /** Told of each object that is damaged, once. */
  readonly damaged?: (error: FarshoreError) => void;
}

/** Reads what it can, and knows whom to tell of what it can't. */
interface Reading {
  readonly view: View;
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
  const reading = { view, pause: ask.pause ?? (async () => undefined), damaged };
  if (ask.blocksOf !== undefined) {
    return hashesOfBlocks(reading, page, ask.blocksOf, (chunk) => kept.take(place(chunk)));
  }
  const { keeps = () => false } = ask;
  if (keeps === "page-by-page") kept.beginPage(volume, page, upTo);
  return hashesOfPage(reading, page, ask.only, (chunk, hashed) => {
    if (hashed === hashedZeros(chunkLength(sizeBytes, page * chunksPerPage + chunk))) return;
    if (keeps === "page-by-page" || keeps(chunk, hashed.chunk)) kept.keep(place(chunk), hashed.blocks);
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
  const { view, pause } = reading;
  const chunks = chunksOfPage(view.sizeBytes, page);
  const hashes = new Uint8Array(chunks * hashBytes);
  const pageIsEmpty = await unlessDamaged(reading, () => view.isEmptyPage(page));
  if (pageIsEmpty === undefined) return hashes.fill(unreadableByte);
  let window: Uint8Array | undefined;
  const windows = only && new Set(only.map((chunk) => Math.floor(chunk / hashWindowChunks)));
  for (let first = 0; first < chunks; first += hashWindowChunks) {
    if (windows?.has(first / hashWindowChunks) === false) continue;
    const offset = (page * chunksPerPage + first) * chunkBytes;
    const length = Math.min(hashWindowChunks * chunkBytes, (chunks - first) * chunkBytes, view.sizeBytes - offset);
    let content: Uint8Array | undefined;
    let unread: ReadonlySet<number> | undefined;
    if (!pageIsEmpty && (await unlessDamaged(reading, () => view.isZeroRange(offset, length))) !== true) {
      window ??= Buffer.allocUnsafeSlow(Math.min(hashWindowChunks, chunks) * chunkBytes);
      content = window.subarray(0, length);
      unread = await readChunks(reading, offset, content);
      await pause();
    }
    for (let at = 0; at < length; at += chunkBytes) {
      const end = Math.min(at + chunkBytes, length);
      const chunk = first + at / chunkBytes;
      if (unread?.has(at) === true) {
        hashes.fill(unreadableByte, chunk * hashBytes, (chunk + 1) * hashBytes);
        continue;
      }
      const found = content === undefined ? hashedZeros(end - at) : hashChunk(content.subarray(at, end));
      hashes.set(found.chunk, chunk * hashBytes);
      hashed(chunk, found);
    }
  }
  return hashes;
}

async function hashesOfBlocks(
  reading: Reading,
  page: number,
  wanted: readonly number[],
  known: (chunk: number) => Uint8Array | undefined,
): Promise<Uint8Array> {
  const { view, pause } = reading;
  const chunks = chunksOfPage(view.sizeBytes, page);
  const stray = wanted.find((chunk) => !(chunk >= 0 && chunk < chunks));
  if (stray !== undefined) throw new InvalidInput(`page ${page} has no chunk ${stray}`, { chunk: stray });
  const parts = wanted.map(known);
  const unknown = [...wanted.keys()].filter((place) => parts[place] === undefined);
  const read = unknown.map((place) => wanted[place] ?? 0);
  const hasIndex = unknown.length === 0 || (await unlessDamaged(reading, () => view.isEmptyPage(page))) !== undefined;
  for (let at = 0; at < read.length; ) {
    const run = runLength(read, at);
    const first = page * chunksPerPage + (read[at] ?? 0);
    const last = first + run - 1;
    const content = Buffer.allocUnsafe((run - 1) * chunkBytes + chunkLength(view.sizeBytes, last));
    const unread = hasIndex ? await readChunks(reading, first * chunkBytes, content) : undefined;
    await pause();
    for (let start = 0; start < content.length; start += chunkBytes) {
      const chunk = content.subarray(start, start + chunkBytes);
      const isRead = unread?.has(start) === false;
      parts[unknown[at + start / chunkBytes] ?? 0] = isRead ? hashChunk(chunk).blocks : unreadableBlocks(chunk.length);
    }
    at += run;
  }
  return Buffer.concat(parts.filter((part) => part !== undefined));
}

/**
 * Fills `content` with chunks that follow each other: together, since a frame of scattered writes shows in many of them, and one by
 * one when that fails. Answers which of them can't be read, by where they begin in `content`.
 */
async function readChunks(reading: Reading, offset: number, content: Uint8Array): Promise<ReadonlySet<number>> {
  const unread = new Set<number>();
  const read = async (from: number, target: Uint8Array): Promise<boolean> => {
    await reading.view.read(from, target, true);
    return true;
  };
  if (await unlessDamaged(reading, () => read(offset, content))) return unread;
  for (let at = 0; at < content.length; at += chunkBytes) {
    const chunk = content.subarray(at, at + chunkBytes);
    if ((await unlessDamaged(reading, () => read(offset + at, chunk))) !== true) unread.add(at);
    await reading.pause();
  }
  return unread;
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

/** How many of the chunks from a place on follow each other, at most a window. */
function runLength(chunks: readonly number[], from: number): number {
  let length = 1;
  while (length < hashWindowChunks && chunks[from + length] === (chunks[from] ?? 0) + length) length += 1;
  return length;
}
