import { chunkBytes, chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { isZero } from "#core/blocks/zeros.ts";
import { InvalidInput } from "#core/errors.ts";
import { sha256 } from "#core/journal/hash.ts";
import type { Position } from "#core/journal/position.ts";
import type { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import { hashBytes, hashWindowChunks } from "./limits.ts";
import { blockHashesOf, chunkLength, chunksOfPage } from "./pieces.ts";

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
}

/**
 * SHA-256 of what an image holds: 32 bytes of every chunk (512 KiB) of a page, or 16 of every block (4 KiB) of the chunks asked for, in
 * their order. The last one of a volume may be short. What reads as zeros by the index alone costs nothing.
 * Throws `InvalidInput` outside the volume, and what the journal's reader throws.
 */
export async function chunkHashes(reader: JournalReader, ask: ChunkHashesAsk): Promise<Uint8Array> {
  const { volume, sizeBytes, page, upTo } = ask;
  if (!(page >= 0 && page * chunksPerPage < chunkCount(sizeBytes))) {
    throw new InvalidInput(`a volume of ${sizeBytes} bytes has no page ${page}`, { page, sizeBytes });
  }
  const view = new View({ reader, volume, sizeBytes, upTo });
  const pause = ask.pause ?? (async () => undefined);
  return ask.blocksOf === undefined
    ? hashesOfPage(view, page, ask.only, pause)
    : hashesOfBlocks(view, page, ask.blocksOf, pause);
}

async function hashesOfPage(
  view: View,
  page: number,
  only: readonly number[] | undefined,
  pause: () => Promise<void>,
): Promise<Uint8Array> {
  const chunks = chunksOfPage(view.sizeBytes, page);
  const hashes = new Uint8Array(chunks * hashBytes);
  const pageIsEmpty = await view.isEmptyPage(page);
  let window: Uint8Array | undefined;
  const windows = only && new Set(only.map((chunk) => Math.floor(chunk / hashWindowChunks)));
  for (let first = 0; first < chunks; first += hashWindowChunks) {
    if (windows?.has(first / hashWindowChunks) === false) continue;
    const offset = (page * chunksPerPage + first) * chunkBytes;
    const length = Math.min(hashWindowChunks * chunkBytes, (chunks - first) * chunkBytes, view.sizeBytes - offset);
    let content: Uint8Array | undefined;
    // Many chunks are read at once, since a frame of scattered writes shows in many of them.
    if (!pageIsEmpty && !(await view.isZeroRange(offset, length))) {
      window ??= Buffer.allocUnsafeSlow(Math.min(hashWindowChunks, chunks) * chunkBytes);
      content = window.subarray(0, length);
      await view.read(offset, content);
      await pause();
    }
    for (let at = 0; at < length; at += chunkBytes) {
      const end = Math.min(at + chunkBytes, length);
      const hash = content === undefined ? zeroHash(end - at) : hashOf(content.subarray(at, end));
      hashes.set(hash, (first + at / chunkBytes) * hashBytes);
    }
  }
  return hashes;
}

async function hashesOfBlocks(
  view: View,
  page: number,
  wanted: readonly number[],
  pause: () => Promise<void>,
): Promise<Uint8Array> {
  const chunks = chunksOfPage(view.sizeBytes, page);
  const stray = wanted.find((chunk) => !(chunk >= 0 && chunk < chunks));
  if (stray !== undefined) throw new InvalidInput(`page ${page} has no chunk ${stray}`, { chunk: stray });
  const parts: Uint8Array[] = [];
  // Neighbours are read together, since a frame of scattered writes shows in many of them.
  for (let at = 0; at < wanted.length; ) {
    const run = runLength(wanted, at);
    const first = page * chunksPerPage + (wanted[at] ?? 0);
    const last = first + run - 1;
    const content = Buffer.allocUnsafe((run - 1) * chunkBytes + chunkLength(view.sizeBytes, last));
    await view.read(first * chunkBytes, content);
    await pause();
    parts.push(blockHashesOf(content));
    at += run;
  }
  return Buffer.concat(parts);
}

/** How many of the chunks from a place on follow each other, at most a window. */
function runLength(chunks: readonly number[], from: number): number {
  let length = 1;
  while (length < hashWindowChunks && chunks[from + length] === (chunks[from] ?? 0) + length) length += 1;
  return length;
}

function hashOf(content: Uint8Array): Uint8Array {
  return isZero(content) ? zeroHash(content.length) : sha256(content);
}

const zeroChunkHash = sha256(new Uint8Array(chunkBytes));

/** SHA-256 of so many zeros. */
function zeroHash(length: number): Uint8Array {
  return length === chunkBytes ? zeroChunkHash : sha256(new Uint8Array(length));
}
