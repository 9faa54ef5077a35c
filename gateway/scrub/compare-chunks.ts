import { chunkBytes, chunksPerPage } from "#core/blocks/geometry.ts";
import { Transient } from "#core/errors.ts";
import { hexOf } from "#core/journal/digest.ts";
import type { DiskFinding } from "#core/scrub/disk-standing.ts";
import { blockBytes, blockHashBytes } from "#core/sync/limits.ts";
import { areUnreadable, blockCount, blockDiffers, chunkLength } from "#core/sync/pieces.ts";
import type { RangeWatch } from "../disk/tapped-device.ts";
import type { ChunkHasher, SyncSource, TargetHashes } from "../sync/volume-sync.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { VolumeTrack } from "../tap/volume-track.ts";

export interface Compared {
  readonly equal: readonly number[];
  readonly differing: readonly Omit<DiskFinding, "foundAt" | "times" | "mended">[];
  /** A write came too near: nothing is known of them. */
  readonly overlapped: readonly number[];
  /** What the site's journal holds of them is damaged, which its own scrub tells: nothing is known of them either. */
  readonly unreadable: readonly number[];
}

export interface CompareParts {
  readonly log: SessionLog;
  readonly hashes: TargetHashes;
  readonly pool: ChunkHasher;
  /** Resolves when a chunk of that many bytes may be read, for the guests' sake. */
  readonly mayRead: (bytes: number) => Promise<void>;
}

/** A chunk as it was read, under watch since before. */
interface Looked {
  readonly chunk: number;
  /** Of its blocks. */
  readonly hashes: Uint8Array;
  readonly watch: RangeWatch;
}

/**
 * Compares chunks of one page, while guests go on writing, with what the site's journal holds of them at one position. That is the end
 * of a batch which the site has and which came after the last read; and a chunk counts only if no write of it was in flight, or came,
 * from before it was read until that batch was acknowledged. A watch to the end of the reading alone would not do: a batch leaves out
 * what is overwritten in it, so at a position inside a batch its image may lack the very bytes that were read. Undefined when the
 * session ended or a sync began meanwhile.
 */
export async function compareChunks(
  parts: CompareParts,
  track: VolumeTrack,
  source: SyncSource,
  chunks: readonly number[],
  signal: AbortSignal,
): Promise<Compared | undefined> {
  const { log, hashes } = parts;
  const { session } = log;
  const { revision } = track;
  const holds = (): boolean => log.whole && log.session === session && track.revision === revision;
  const looked: Looked[] = [];
  try {
    for (const chunk of chunks) {
      await parts.mayRead(chunkLength(source.sizeBytes, chunk));
      if (!holds()) return undefined;
      looked.push(await look(parts, source, chunk));
    }
    const position = log.lastPosition;
    if (position === undefined) return undefined;
    const acknowledged = (): number => log.backlog?.acknowledgedSequence ?? 0;
    await log.changes.until(() => !holds() || acknowledged() >= position.sequence, signal);
    if (!holds()) return undefined;
    const upTo = { session: position.session, sequence: acknowledged() };
    const still = looked.filter(({ watch }) => !watch.overlapped());
    const overlapped = looked.filter(({ watch }) => watch.overlapped()).map(({ chunk }) => chunk);
    for (const { watch } of looked) watch.end();
    if (still.length === 0) return { equal: [], differing: [], overlapped, unreadable: [] };
    const page = Math.floor((chunks[0] ?? 0) / chunksPerPage);
    const blocksOf = still.map(({ chunk }) => chunk - page * chunksPerPage);
    const { journalVolume } = track;
    const wanted = await hashes({ journalVolume, page, upTo, sizeBytes: source.sizeBytes, blocksOf }, signal);
    // The answer is of a journal that may have another end now; another session's is not the one that was read for.
    if (log.session !== session) return undefined;
    return { ...judge(still, wanted, { volume: journalVolume, ...upTo, sizeBytes: source.sizeBytes }), overlapped };
  } finally {
    for (const { watch } of looked) watch.end();
  }
}

async function look({ pool }: CompareParts, source: SyncSource, chunk: number): Promise<Looked> {
  const length = chunkLength(source.sizeBytes, chunk);
  const buffer = new ArrayBuffer(length);
  const watch = source.watch(chunk * chunkBytes, length);
  try {
    await source.read(chunk * chunkBytes, new Uint8Array(buffer));
    const { blocks: hashes } = await pool.hash(buffer, length);
    return { chunk, hashes, watch };
  } catch (error) {
    watch.end();
    throw error;
  }
}

function judge(
  looked: readonly Looked[],
  wanted: Uint8Array,
  at: { readonly volume: number; readonly session: number; readonly sequence: number; readonly sizeBytes: number },
): Omit<Compared, "overlapped"> {
  const { sizeBytes, ...place } = at;
  const lengths = looked.map(({ chunk }) => blockCount(chunkLength(sizeBytes, chunk)) * blockHashBytes);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (wanted.length !== total) {
    throw new Transient(`the site answered ${wanted.length} bytes of hashes where ${total} were asked for`);
  }
  const equal: number[] = [];
  const unreadable: number[] = [];
  const differing: Compared["differing"][number][] = [];
  let start = 0;
  for (const [index, { chunk, hashes }] of looked.entries()) {
    const theirs = wanted.subarray(start, start + (lengths[index] ?? 0));
    start += theirs.length;
    if (areUnreadable(theirs)) {
      unreadable.push(chunk);
      continue;
    }
    const blocks = Array.from({ length: theirs.length / blockHashBytes }, (_, block) => block);
    const differ = blocks.filter((block) => blockDiffers(hashes, theirs, block));
    const [first] = differ;
    if (first === undefined) {
      equal.push(chunk);
      continue;
    }
    const hexOfFirst = (of: Uint8Array): string =>
      hexOf(of.subarray(first * blockHashBytes, (first + 1) * blockHashBytes));
    const offset = chunk * chunkBytes + first * blockBytes;
    const end = Math.min(sizeBytes, chunk * chunkBytes + ((differ.at(-1) ?? first) + 1) * blockBytes);
    const found = { diskHash: hexOfFirst(hashes), journalHash: hexOfFirst(theirs) };
    differing.push({ ...place, offset, length: end - offset, ...found });
  }
  return { equal, differing, unreadable };
}
