import { chunkBytes, chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { isZero } from "#core/blocks/zeros.ts";
import { InvalidInput } from "#core/errors.ts";
import { sha256 } from "#core/journal/hash.ts";
import type { Position } from "#core/journal/position.ts";
import type { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import { hashBytes, hashWindowChunks, subChunkBytes } from "./limits.ts";
import { chunkLength, chunksOfPage, subChunkCount } from "./pieces.ts";

export interface ChunkHashesAsk {
  readonly volume: number;
  /** Size of the volume at the position, bytes. */
  readonly sizeBytes: number;
  /** Number of the page (1 GiB) in the volume. */
  readonly page: number;
  /** Everything at or before it is in the image. */
  readonly upTo: Position;
  /** Chunk numbers inside the page whose sub-hashes are wanted instead, in the order wanted. */
  readonly subChunksOf?: readonly number[] | undefined;
  /** Chunk numbers inside the page that matter, ascending, when not all do: the hashes of others are undefined. */
  readonly only?: readonly number[] | undefined;
  /** Called between the pieces of work (16 MiB): lets everybody else run who shares the thread. */
  readonly pause?: () => Promise<void>;
}

/**
 * SHA-256 of what an image holds, 32 bytes after 32 bytes: of every chunk (512 KiB) of a page, or of every sub-chunk (64 KiB) of the
 * chunks asked for. The last one of a volume may be short. What reads as zeros by the index alone costs nothing.
 * Throws `InvalidInput` outside the volume, and what the journal's reader throws.
 */
export async function chunkHashes(reader: JournalReader, ask: ChunkHashesAsk): Promise<Uint8Array> {
  const { volume, sizeBytes, page, upTo } = ask;
  if (!(page >= 0 && page * chunksPerPage < chunkCount(sizeBytes))) {
    throw new InvalidInput(`a volume of ${sizeBytes} bytes has no page ${page}`, { page, sizeBytes });
  }
  const view = new View({ reader, volume, sizeBytes, upTo });
  const pause = ask.pause ?? (async () => undefined);
  return ask.subChunksOf === undefined
    ? hashesOfPage(view, page, ask.only, pause)
    : subHashesOfChunks(view, page, ask.subChunksOf, pause);
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

async function subHashesOfChunks(
  view: View,
  page: number,
  wanted: readonly number[],
  pause: () => Promise<void>,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const chunks = chunksOfPage(view.sizeBytes, page);
  for (const inPage of wanted) {
    if (!(inPage >= 0 && inPage < chunks)) throw new InvalidInput(`page ${page} has no chunk ${inPage}`, { inPage });
    const chunk = page * chunksPerPage + inPage;
    const content = Buffer.alloc(chunkLength(view.sizeBytes, chunk));
    await view.read(chunk * chunkBytes, content);
    await pause();
    const hashes = new Uint8Array(subChunkCount(content.length) * hashBytes);
    for (let at = 0; at < content.length; at += subChunkBytes) {
      hashes.set(hashOf(content.subarray(at, at + subChunkBytes)), (at / subChunkBytes) * hashBytes);
    }
    parts.push(hashes);
  }
  return Buffer.concat(parts);
}

function hashOf(content: Uint8Array): Uint8Array {
  return isZero(content) ? zeroHash(content.length) : sha256(content);
}

/** Hashes of zeros of the two common lengths. */
const zeroHashes = new Map<number, Uint8Array>();

/** SHA-256 of so many zeros. */
function zeroHash(length: number): Uint8Array {
  const known = zeroHashes.get(length);
  if (known !== undefined) return known;
  const hash = sha256(new Uint8Array(length));
  if (length === chunkBytes || length === subChunkBytes) zeroHashes.set(length, hash);
  return hash;
}
