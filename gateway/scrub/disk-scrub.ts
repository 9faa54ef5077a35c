import { chunkBytes, chunkCount, chunkOf, chunksPerPage } from "#core/blocks/geometry.ts";
import type { Clock, Log } from "#core/ports.ts";
import { type DiskScrub, toldFindingsMax } from "#core/scrub/disk-standing.ts";
import {
  scrubBytesPerSecondDefault,
  scrubDueLookMs,
  scrubGroupChunks,
  scrubGuestBytesMax,
  scrubLookMs,
  scrubMendsMax,
  scrubRetryMs,
  scrubSaveMs,
  scrubSettleMs,
  scrubTriesMax,
} from "../limits.ts";
import type { StateStore } from "../state/state-directory.ts";
import type { ChunkHasher, SyncSource, TargetHashes } from "../sync/volume-sync.ts";
import { ChangeSignal } from "../tap/change-signal.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { VolumeTrack } from "../tap/volume-track.ts";
import { Throttle } from "../throttle.ts";
import { type Compared, compareChunks } from "./compare-chunks.ts";
import { GuestLoad } from "./guest-load.ts";
import { begun, type DiskRecord, dueInMs, ended, equal, found, noRecord, scrubRecordSchema } from "./scrub-record.ts";

export interface DiskScrubOptions {
  readonly vpgName: string;
  /** Names the VPG and where its disks come from; another name means that nothing is known yet. */
  readonly of: () => string;
  readonly log: SessionLog;
  /** By the index of the log's volumes. */
  readonly sources: () => readonly SyncSource[];
  readonly hashes: TargetHashes;
  readonly openHasher: () => ChunkHasher;
  readonly state: StateStore;
  readonly clock: Clock;
  readonly events: Log;
  /** While guests leave the disks alone; 0: only when it is asked for. */
  readonly bytesPerSecond: number;
}

/** Chunks of one page of a volume. */
interface Group {
  readonly track: VolumeTrack;
  readonly chunks: readonly number[];
}

/**
 * Compares the disks of a VPG, chunk by chunk and while guests leave them alone, with what the site's journal holds of them. What
 * differs is told, and becomes a suspect, so that the one sync sends it again; then it is compared again. Its place is kept in the
 * state directory: a kill has it compare a bit again, and nothing counts that wasn't compared.
 */
export class DiskScrubber {
  readonly #options: DiskScrubOptions;
  readonly #throttle: Throttle;
  readonly #load: GuestLoad;
  readonly #stop = new AbortController();
  readonly #asked = new ChangeSignal();
  #known: DiskRecord;
  #isAsked = false;
  #savedAt = Number.NEGATIVE_INFINITY;
  #pool: ChunkHasher | undefined;
  #loop: Promise<void> | undefined;
  /** Findings that were compared again in vain, and when: others have their turn. */
  readonly #triedAt = new Map<string, number>();

  constructor(options: DiskScrubOptions) {
    const { bytesPerSecond, clock, log } = options;
    this.#options = options;
    this.#known = noRecord(options.of());
    this.#throttle = new Throttle(bytesPerSecond === 0 ? scrubBytesPerSecondDefault : bytesPerSecond, clock);
    this.#load = new GuestLoad(() => log.statistics.writtenBytes, clock);
  }

  /** What an earlier life was at is gone on with. */
  async load(): Promise<void> {
    const { state, events } = this.#options;
    try {
      this.#known = (await state.read(this.#name, scrubRecordSchema)) ?? this.#known;
    } catch (error) {
      // Nothing rests on it: a round begins anew.
      events.warn("scrub.record-lost", { error });
    }
  }

  start(): void {
    if (this.#options.bytesPerSecond > 0 || this.#record.round !== null) this.#begin();
  }

  /** A round begins now, from the first chunk. */
  ask(): void {
    this.#isAsked = true;
    this.#asked.fire();
    this.#begin();
  }

  /** Whatever goes wrong in it, the guests' disks are served on. */
  #begin(): void {
    const { events } = this.#options;
    if (this.#stop.signal.aborted) return;
    this.#loop ??= this.#run().catch((error: unknown) => events.error("scrub.ended", { error }));
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("the scrub was stopped"));
    await this.#loop;
  }

  /** For heartbeats. */
  get standing(): DiskScrub {
    const { log, clock, bytesPerSecond } = this.#options;
    const { round, last, findings } = this.#record;
    const counts = round ?? last;
    return {
      running: round !== null,
      comparedChunks: counts?.compared ?? 0,
      skippedChunks: counts?.skipped ?? 0,
      totalChunks: log.tracks.reduce((sum, { sizeBytes }) => sum + chunkCount(sizeBytes), 0),
      ageMs: last === null ? null : Math.max(0, clock.now() - last.startedAt),
      bytesPerSecond,
      differing: findings.length,
      mended: findings.filter(({ mended }) => mended).length,
      findings: findings.slice(-toldFindingsMax),
    };
  }

  get #record(): DiskRecord {
    const of = this.#options.of();
    return this.#known.of === of ? this.#known : noRecord(of);
  }

  set #record(record: DiskRecord) {
    this.#known = record;
  }

  get #name(): string {
    return `scrub-${this.#options.vpgName}`;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { events, clock, log } = this.#options;
    try {
      if (!this.#isAsked) await this.#rest(scrubSettleMs);
      for (;;) {
        if (this.#isAsked) {
          this.#isAsked = false;
          this.#triedAt.clear();
          await this.#keep(begun(this.#record, clock.now()));
        }
        const waitMs = this.#restMs();
        if (waitMs > 0) {
          await this.#rest(waitMs);
          continue;
        }
        if (this.#record.round === null && this.#unmended() === undefined) {
          await this.#keep(begun(this.#record, clock.now()));
        }
        await log.changes.until(() => log.whole, signal);
        try {
          await this.#next();
        } catch (error) {
          signal.throwIfAborted();
          events.warn("scrub.waits", { error });
          await clock.sleep(scrubRetryMs, signal);
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await this.#pool?.close();
      await this.#save().catch((error: unknown) => events.error("state.not-saved", { error }));
    }
  }

  /** How long there is nothing to do; 0 when there is. */
  #restMs(): number {
    const { clock, bytesPerSecond } = this.#options;
    if (this.#record.round !== null || this.#unmended() !== undefined) return 0;
    const dueMs = bytesPerSecond === 0 ? scrubDueLookMs : dueInMs(this.#record, clock.now());
    const waits = this.#record.findings.some(({ mended, times }) => !mended && times <= scrubMendsMax);
    return Math.min(dueMs, waits ? scrubRetryMs : scrubDueLookMs);
  }

  /** Until that is over, or a round is asked for. */
  async #rest(ms: number): Promise<void> {
    await this.#pool?.close();
    this.#pool = undefined;
    const early = new AbortController();
    const either = AbortSignal.any([this.#stop.signal, early.signal]);
    const asked = this.#asked.next(either).then(() => early.abort());
    await Promise.allSettled([asked, this.#options.clock.sleep(ms, either).finally(() => early.abort())]);
    this.#stop.signal.throwIfAborted();
  }

  /** One group further, or a finding looked at again. What a session's end or a sync came between counts for nothing. */
  async #next(): Promise<void> {
    const again = this.#unmended();
    const group = again ?? this.#group();
    if (group === undefined) {
      this.#options.events.info("scrub.round-ended", { ...this.#record.round });
      return this.#keep(ended(this.#record));
    }
    const { track, chunks } = group;
    const source = this.#options.sources()[track.index];
    if (source === undefined) throw new TypeError(`volume ${track.index} has no source`);
    this.#pool ??= this.#options.openHasher();
    const { log, hashes } = this.#options;
    const parts = { log, hashes, pool: this.#pool, mayRead: (bytes: number) => this.#mayRead(bytes) };
    let left = chunks;
    let unreadable = 0;
    for (let attempt = 0; attempt < scrubTriesMax && left.length > 0; attempt += 1) {
      const compared = await compareChunks(parts, track, source, left, this.#stop.signal);
      if (compared === undefined) return;
      await this.#judge(track, compared);
      left = compared.overlapped;
      unreadable += compared.unreadable.length;
    }
    if (again === undefined) await this.#passed(group, left.length + unreadable);
    else this.#triedAt.set(`${track.journalVolume} ${chunks[0]}`, this.#options.clock.monotonic());
  }

  /** Resolves when guests leave the disks alone, and the rate lets a chunk be read. */
  async #mayRead(bytes: number): Promise<void> {
    const { log, clock } = this.#options;
    const { signal } = this.#stop;
    await this.#throttle.take(bytes, signal);
    const busy = (): boolean => this.#load.isHigh || (log.backlog?.unacknowledgedBytes ?? 0) > scrubGuestBytesMax;
    while (log.whole && busy()) await clock.sleep(scrubLookMs, signal);
  }

  /** Says what differs before it is sent again, so that nothing is mended in silence. */
  async #judge(track: VolumeTrack, { equal: same, differing }: Compared): Promise<void> {
    const { clock, events, log } = this.#options;
    const volume = track.journalVolume;
    for (const chunk of same) this.#record = equal(this.#record, { volume, offset: chunk * chunkBytes });
    for (const difference of differing) {
      await this.#keep(found(this.#record, difference, clock.now()));
      const { times = 1 } = this.#record.findings.at(-1) ?? {};
      events.error("scrub.differs", { ...difference, times });
      if (times <= scrubMendsMax) log.distrust(track.index, difference.offset, difference.length);
    }
  }

  /** What was sent again and not compared since. */
  #unmended(): Group | undefined {
    const now = this.#options.clock.monotonic();
    for (const { volume, offset, mended, times } of this.#record.findings) {
      const track = this.#options.log.tracks.find(({ journalVolume }) => journalVolume === volume);
      const chunk = chunkOf(offset);
      const triedAt = this.#triedAt.get(`${volume} ${chunk}`);
      const tried = triedAt !== undefined && now - triedAt < scrubRetryMs;
      if (track === undefined || mended || tried || times > scrubMendsMax) continue;
      if (chunk < chunkCount(track.sizeBytes)) return { track, chunks: [chunk] };
    }
    return undefined;
  }

  /** What comes next in the round; undefined at its end. */
  #group(): Group | undefined {
    const { volume = 0, chunk = 0 } = this.#record.round ?? {};
    const tracks = [...this.#options.log.tracks].sort((one, other) => one.journalVolume - other.journalVolume);
    for (const track of tracks) {
      if (track.journalVolume < volume) continue;
      const first = track.journalVolume === volume ? chunk : 0;
      const pageEnd = (Math.floor(first / chunksPerPage) + 1) * chunksPerPage;
      const end = Math.min(first + scrubGroupChunks, pageEnd, chunkCount(track.sizeBytes));
      if (first < end) return { track, chunks: Array.from({ length: end - first }, (_, index) => first + index) };
    }
    return undefined;
  }

  async #passed({ track, chunks }: Group, skipped: number): Promise<void> {
    const { round } = this.#record;
    if (round === null) return;
    const next = { volume: track.journalVolume, chunk: (chunks.at(-1) ?? 0) + 1 };
    const counts = { compared: round.compared + chunks.length - skipped, skipped: round.skipped + skipped };
    this.#record = { ...this.#record, round: { ...round, ...next, ...counts } };
    if (this.#options.clock.monotonic() - this.#savedAt >= scrubSaveMs) await this.#save();
  }

  async #keep(record: DiskRecord): Promise<void> {
    this.#record = record;
    await this.#save();
  }

  async #save(): Promise<void> {
    this.#savedAt = this.#options.clock.monotonic();
    await this.#options.state.write(this.#name, this.#record);
  }
}
