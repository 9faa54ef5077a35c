import { chunkBytes, chunksPerPage, pageOf } from "#core/blocks/geometry.ts";
import { isZero } from "#core/blocks/zeros.ts";
import { Transient } from "#core/errors.ts";
import { bytesEqual } from "#core/journal/hash.ts";
import type { Position } from "#core/journal/position.ts";
import type { Clock, Log } from "#core/ports.ts";
import { type HashedChunk, hashedZeros } from "#core/sync/hash-chunk.ts";
import {
  blockBytes,
  blockHashBytes,
  blockHashChunksMax,
  firstCopyPieceBytes,
  hashBytes,
  overlappedReadsMax,
} from "#core/sync/limits.ts";
import {
  blockCount,
  blockDiffers,
  chunkLength,
  chunksOfPage,
  differingRuns,
  type Piece,
  piecesOf,
} from "#core/sync/pieces.ts";
import type { SyncCounter } from "#core/sync/progress.ts";
import type { RangeWatch } from "../disk/tapped-device.ts";
import { syncReadAhead, syncRetryMs } from "../limits.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { SyncBasis, VolumeTrack } from "../tap/volume-track.ts";
import type { Throttle } from "../throttle.ts";
import type { ChunkBuffers } from "./chunk-buffers.ts";
import type { HashPool } from "./hash-pool.ts";
import type { KeptHashes } from "./kept-hashes.ts";
import type { PageTask, Planner } from "./planner.ts";

/** The disk that is synced; a `TappedDevice` is one. */
export interface SyncSource {
  readonly sizeBytes: number;
  read(offset: number, target: Uint8Array): void | Promise<void>;
  watch(offset: number, length: number): RangeWatch;
  lockedRead<Result>(
    offset: number,
    length: number,
    use: (bytes: Uint8Array) => Result | Promise<Result>,
  ): Promise<Result>;
}

/** Hashes of the journal's image: of all chunks of a page, or of the blocks of some (numbers inside the page). */
export type TargetHashes = (
  ask: {
    readonly journalVolume: number;
    readonly page: number;
    readonly upTo: Position;
    /** Of the volume. */
    readonly sizeBytes: number;
    readonly blocksOf?: readonly number[];
  },
  signal: AbortSignal,
) => Promise<Uint8Array>;

/** Hashes chunks away from the loop that serves guests; a `HashPool` is one. */
export type ChunkHasher = Pick<HashPool, "hash" | "close">;

export interface SyncParts {
  readonly log: SessionLog;
  readonly hashes: TargetHashes;
  readonly pool: ChunkHasher;
  readonly buffers: ChunkBuffers;
  readonly kept: KeptHashes;
  readonly throttle: Throttle;
  readonly counter: SyncCounter;
  readonly clock: Clock;
  readonly events: Log;
  /** Without one the engine compares everything by itself. */
  readonly planner?: Pick<Planner, "taskOf" | "hashed" | "leave"> | undefined;
  /** Up to so many suspects of a page are compared by their blocks at once. */
  readonly directMax: number;
}

type Outcome = "settled" | "differs" | "void";

/**
 * R14: brings one volume's journal up to its disk, whatever made chunks suspect. The one code path of the initial, overflow, crash and
 * distrust syncs: they differ in the suspects and in the basis that hashes are compared with.
 */
export class VolumeSync {
  readonly #track: VolumeTrack;
  readonly #source: SyncSource;
  readonly #parts: SyncParts;
  readonly #signal: AbortSignal;
  /** The last look at a page failed. */
  #troubled = false;
  #ahead: { readonly page: number; readonly basis: SyncBasis; readonly hashes: Promise<Uint8Array> } | undefined;

  constructor(track: VolumeTrack, source: SyncSource, parts: SyncParts, signal: AbortSignal) {
    this.#track = track;
    this.#source = source;
    this.#parts = parts;
    this.#signal = signal;
  }

  /** Works until the volume's sync-end is appended or its session is gone. Rejects only when the signal is aborted. */
  async run(): Promise<void> {
    const { log, clock, events } = this.#parts;
    let from = 0;
    while (this.#track.syncing) {
      this.#signal.throwIfAborted();
      if (this.#track.suspects.count === 0) {
        if (!log.endSync(this.#track)) await log.changes.next(this.#signal);
        continue;
      }
      const next = this.#nextPage(from);
      if (next === undefined) {
        // What is left waits for a delta-sync's answer.
        if (from === 0) await log.changes.next(this.#signal);
        from = 0;
        continue;
      }
      const { page, task } = next;
      try {
        if (task === "hash") await this.#hashPage(page);
        else await this.#syncPage(page, task === "differs");
        from = (page + 1) * chunksPerPage;
      } catch (error) {
        this.#signal.throwIfAborted();
        // An unreadable disk or an unreachable site: the chunks stay suspects, and no checkpoint is made meanwhile.
        events.warn("sync.waits", { volume: this.#track.journalVolume, page, error });
        this.#ahead = undefined;
        this.#troubled = true;
        if (task === "hash") this.#parts.planner?.leave(this.#track, page);
        await clock.sleep(syncRetryMs, this.#signal);
      }
    }
  }

  /** The first page at or after a chunk that has suspects and something to be done about them. */
  #nextPage(from: number): { readonly page: number; readonly task: Exclude<PageTask, "wait"> } | undefined {
    const { suspects } = this.#track;
    for (let chunk = suspects.next(from); chunk >= 0; ) {
      const page = pageOf(chunk * chunkBytes);
      const task = this.#parts.planner?.taskOf(this.#track, page) ?? "alone";
      if (task !== "wait") return { page, task };
      chunk = suspects.next((page + 1) * chunksPerPage);
    }
    return undefined;
  }

  /** Reads and hashes every suspect of the page for a delta-sync, which compares them in the engine's place. */
  async #hashPage(page: number): Promise<void> {
    const { log, planner } = this.#parts;
    await log.changes.until(() => log.journaling || !this.#track.syncing, this.#signal);
    const { basis, revision } = this.#track;
    if (basis.kind === "empty") throw new TypeError("an empty journal has nothing to be compared with");
    await this.#acknowledgedThrough(basis.upTo);
    const chunks = this.#track.suspects.inPage(page);
    const hashes = await this.#hashChunks(page, chunks, revision);
    if (hashes === undefined) return planner?.leave(this.#track, page);
    const { sizeBytes } = this.#source;
    await planner?.hashed(this.#track, page, { sizeBytes, upTo: basis.upTo, revision, chunks, hashes });
  }

  /** 32 bytes of each chunk, read now; undefined when suspicion was added on the way. */
  async #hashChunks(page: number, chunks: readonly number[], revision: number): Promise<Uint8Array | undefined> {
    const hashes = new Uint8Array(chunks.length * hashBytes);
    const outcomes = await this.#each(chunks, (chunk, index) =>
      this.#withChunk(page, chunk, revision, async (_, hash) => {
        const found = await hash();
        hashes.set(found.chunk, index * hashBytes);
        this.#parts.kept.keep(this.#track, page * chunksPerPage + chunk, revision, found.blocks);
        return "differs";
      }),
    );
    return revision === this.#track.revision && !outcomes.includes("void") ? hashes : undefined;
  }

  /**
   * One look at every suspect of the page; those whose comparison became void stay suspects for the next look. `differs`: all of them
   * are known to, so that only what of each is asked for.
   */
  async #syncPage(page: number, differs: boolean): Promise<void> {
    const { log } = this.#parts;
    await log.changes.until(() => log.journaling || !this.#track.syncing, this.#signal);
    const { basis, revision } = this.#track;
    const chunks = this.#track.suspects.inPage(page);
    if (basis.kind === "empty") {
      await this.#each(chunks, (chunk) => this.#compareAll(page, chunk, revision, undefined));
      return;
    }
    await this.#acknowledgedThrough(basis.upTo);
    let differing: readonly number[] = chunks;
    if (!differs && chunks.length > this.#parts.directMax) {
      const found = await this.#weedOut(page, chunks, revision, basis);
      if (found === undefined) return;
      differing = found;
    }
    await this.#compareBlocks(page, differing, revision, basis.upTo);
  }

  /** Group by group: while one is compared the site reads the next. */
  async #compareBlocks(page: number, chunks: readonly number[], revision: number, upTo: Position): Promise<void> {
    const groupAt = (at: number): readonly number[] => chunks.slice(at, at + blockHashChunksMax);
    const ask = (group: readonly number[]): Promise<Uint8Array> => {
      const asked = this.#blockHashes(page, group, upTo);
      // Whoever awaits it sees the failure; if nobody does, it is of no interest.
      asked.catch(() => undefined);
      return asked;
    };
    let next = chunks.length === 0 ? undefined : ask(groupAt(0));
    for (let at = 0; next !== undefined && revision === this.#track.revision; at += blockHashChunksMax) {
      const [group, following] = [groupAt(at), groupAt(at + blockHashChunksMax)];
      const hashes: Uint8Array = await next;
      next = following.length === 0 ? undefined : ask(following);
      let place = 0;
      const wanted = group.map((chunk) => {
        const start = place;
        place += this.#blockHashesLength(page, chunk);
        return hashes.subarray(start, place);
      });
      await this.#each(group, (chunk, index) => this.#compareOne(page, chunk, revision, wanted[index]));
    }
  }

  async #blockHashes(page: number, chunks: readonly number[], upTo: Position): Promise<Uint8Array> {
    const { journalVolume } = this.#track;
    const ask = { journalVolume, page, upTo, sizeBytes: this.#source.sizeBytes, blocksOf: chunks };
    const hashes = await this.#parts.hashes(ask, this.#signal);
    checkLength(
      hashes,
      chunks.reduce((sum, chunk) => sum + this.#blockHashesLength(page, chunk), 0),
    );
    return hashes;
  }

  #blockHashesLength(page: number, chunk: number): number {
    return blockCount(this.#lengthOf(page, chunk)) * blockHashBytes;
  }

  /**
   * Settles what equals the target's; answers which chunks don't, or undefined when all of it is void. Both sides hash at the same
   * time: what is written meanwhile is journaled by itself, and the target's image is of before.
   */
  async #weedOut(
    page: number,
    chunks: readonly number[],
    revision: number,
    basis: SyncBasis,
  ): Promise<readonly number[] | undefined> {
    const asked = this.#pageHashes(page, basis);
    // Whoever awaits it sees the failure. The site goes on with the next page meanwhile.
    asked.then(
      () => this.#readAhead(page, basis),
      () => undefined,
    );
    // One that didn't answer is waited for first: while it is away nothing is hashed in vain.
    if (this.#troubled) await asked;
    const found = await this.#hashChunks(page, chunks, revision);
    const wanted = await asked;
    this.#troubled = false;
    if (found === undefined) return undefined;
    const isEqual = (chunk: number, index: number): boolean =>
      bytesEqual(
        found.subarray(index * hashBytes, (index + 1) * hashBytes),
        wanted.subarray(chunk * hashBytes, (chunk + 1) * hashBytes),
      );
    const equal = chunks.filter(isEqual);
    if (!this.#parts.log.dropSuspects(this.#track, page * chunksPerPage, equal, revision)) return undefined;
    for (const chunk of equal) {
      this.#parts.kept.take(this.#track, page * chunksPerPage + chunk, revision);
      this.#parts.counter.settled(0);
    }
    return chunks.filter((chunk, index) => !isEqual(chunk, index));
  }

  /** Of a chunk that was hashed already, only what differs is read again. */
  #compareOne(page: number, chunk: number, revision: number, wanted: Uint8Array | undefined): Promise<Outcome> {
    const found = this.#parts.kept.take(this.#track, page * chunksPerPage + chunk, revision);
    if (found === undefined || wanted === undefined) return this.#compareAll(page, chunk, revision, wanted);
    const compare = async (_: Uint8Array, __: unknown, current: () => Uint8Array): Promise<readonly Piece[]> =>
      piecesOf(current(), blockBytes, (block) => blockDiffers(found, wanted, block));
    return this.#withChunk(page, chunk, revision, compare, differingRuns(this.#lengthOf(page, chunk), found, wanted));
  }

  /** Ships the blocks that differ by the wanted hashes; without hashes the target reads as zeros. */
  #compareAll(page: number, chunk: number, revision: number, wanted: Uint8Array | undefined): Promise<Outcome> {
    return this.#withChunk(page, chunk, revision, async (bytes, hash, current) => {
      if (wanted === undefined) {
        if (isZero(bytes)) return [];
        return piecesOf(current(), firstCopyPieceBytes, () => true).filter((piece) => !piece.zero);
      }
      const { blocks } = await hash();
      return piecesOf(current(), blockBytes, (block) => blockDiffers(blocks, wanted, block));
    });
  }

  /**
   * Reads a chunk and settles it by what `compare` finds: nothing, pieces, or that it differs. Bytes that are appended are the very
   * bytes compared; if a write overlapped between the start of the read and the append, it reads again, at last under the range lock.
   * With `runs` only these of its bytes are read and may be used.
   */
  async #withChunk(
    page: number,
    chunk: number,
    revision: number,
    compare: (
      bytes: Uint8Array,
      hash: () => Promise<HashedChunk>,
      current: () => Uint8Array,
    ) => Promise<readonly Piece[] | "differs">,
    runs?: readonly { readonly start: number; readonly length: number }[],
  ): Promise<Outcome> {
    const { log, buffers, pool, throttle } = this.#parts;
    const length = this.#lengthOf(page, chunk);
    const number = page * chunksPerPage + chunk;
    const start = number * chunkBytes;
    const reads = runs ?? [{ start: 0, length }];
    await throttle.take(
      reads.reduce((sum, run) => sum + run.length, 0),
      this.#signal,
    );
    await log.changes.until(() => log.syncMayProceed || revision !== this.#track.revision, this.#signal);
    let buffer = await buffers.take();
    const current = (): Uint8Array => new Uint8Array(buffer, 0, length);
    const hash = async (): Promise<HashedChunk> => {
      if (isZero(current())) return hashedZeros(length);
      const answer = await pool.hash(buffer, length);
      buffer = answer.buffer;
      return answer;
    };
    const settle = (found: readonly Piece[] | "differs"): Outcome => {
      if (found === "differs") return "differs";
      if (!log.settleChunk(this.#track, number, revision, start, current(), found)) return "void";
      this.#parts.counter.settled(found.reduce((sum, piece) => sum + piece.length, 0));
      return "settled";
    };
    try {
      for (let attempt = 0; attempt < overlappedReadsMax; attempt += 1) {
        if (revision !== this.#track.revision || this.#signal.aborted) return "void";
        const watch = this.#source.watch(start, length);
        try {
          for (const run of reads) {
            await this.#source.read(start + run.start, new Uint8Array(buffer, run.start, run.length));
          }
          const found = await compare(current(), hash, current);
          // What is equal stays so: a write that overlaps is appended by itself.
          if (found === "differs" || found.length === 0 || !watch.overlapped()) return settle(found);
        } finally {
          watch.end();
        }
      }
      return await this.#source.lockedRead(start, length, async (bytes) => {
        current().set(bytes);
        return settle(await compare(current(), hash, current));
      });
    } finally {
      buffers.give(buffer);
    }
  }

  async #pageHashes(page: number, basis: SyncBasis): Promise<Uint8Array> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    const hashes = await (ahead?.page === page && ahead.basis === basis ? ahead.hashes : this.#askPage(page, basis));
    checkLength(hashes, chunksOfPage(this.#source.sizeBytes, page) * hashBytes);
    return hashes;
  }

  /** The site computes the next page's hashes while this page is compared. */
  #readAhead(page: number, basis: SyncBasis): void {
    const next = this.#track.suspects.next((page + 1) * chunksPerPage);
    if (next < 0) return;
    const ahead = pageOf(next * chunkBytes);
    if (this.#track.suspects.inPage(ahead).length <= this.#parts.directMax) return;
    const hashes = this.#askPage(ahead, basis);
    // Whoever uses it sees the failure; if nobody does, it is of no interest.
    hashes.catch(() => undefined);
    this.#ahead = { page: ahead, basis, hashes };
  }

  #askPage(page: number, basis: SyncBasis): Promise<Uint8Array> {
    if (basis.kind === "empty") throw new TypeError("an empty journal has no hashes to ask for");
    const { journalVolume } = this.#track;
    const ask = { journalVolume, page, upTo: basis.upTo, sizeBytes: this.#source.sizeBytes };
    return this.#parts.hashes(ask, this.#signal);
  }

  /** The site can only hash what it has. */
  async #acknowledgedThrough(upTo: Position): Promise<void> {
    const { log } = this.#parts;
    const reached = (): boolean =>
      log.session?.session !== upTo.session || (log.backlog?.acknowledgedSequence ?? 0) >= upTo.sequence;
    if (!reached()) log.cut();
    await log.changes.until(reached, this.#signal);
  }

  #lengthOf(page: number, chunk: number): number {
    return chunkLength(this.#source.sizeBytes, page * chunksPerPage + chunk);
  }

  /** Runs `work` over the chunks, a few at a time, and waits for all of them even if one fails: each holds a buffer. */
  async #each<Result>(
    chunks: readonly number[],
    work: (chunk: number, index: number) => Promise<Result>,
  ): Promise<readonly Result[]> {
    const results: Result[] = [];
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < chunks.length) {
        const index = next;
        next += 1;
        results[index] = await work(chunks[index] ?? 0, index);
        // Guests' requests have their turn.
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const lanes = await Promise.allSettled(Array.from({ length: syncReadAhead }, lane));
    for (const outcome of lanes) if (outcome.status === "rejected") throw outcome.reason;
    return results;
  }
}

function checkLength(hashes: Uint8Array, wanted: number): void {
  if (hashes.length !== wanted) {
    throw new Transient(`the site answered ${hashes.length} bytes of hashes where ${wanted} were asked for`);
  }
}
