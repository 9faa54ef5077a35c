import type { Clock, Log } from "#core/ports.ts";
import { directBlockHashesMax } from "#core/sync/limits.ts";
import { SyncCounter, type SyncProgress } from "#core/sync/progress.ts";
import { keptBlockHashBytesMax, syncReadAhead } from "../limits.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { VolumeTrack } from "../tap/volume-track.ts";
import { Throttle } from "../throttle.ts";
import { ChunkBuffers } from "./chunk-buffers.ts";
import { HashPool } from "./hash-pool.ts";
import { KeptHashes } from "./kept-hashes.ts";
import { Planner, type PlanSite } from "./planner.ts";
import { type ChunkHasher, type SyncParts, type SyncSource, type TargetHashes, VolumeSync } from "./volume-sync.ts";

/** Buffers of all volumes' syncs together: two volumes' read-ahead. */
const buffersMax = 2 * syncReadAhead;

/** Runs the syncs of a VPG's volumes as the session log begins them, side by side, with one set of buffers and hash workers. */
export class SyncRunner {
  readonly #log: SessionLog;
  readonly #sources: readonly SyncSource[];
  readonly #hashes: TargetHashes;
  readonly #clock: Clock;
  readonly #events: Log;
  readonly #openHasher: () => ChunkHasher;
  readonly #throttle: Throttle;
  readonly #directMax: number;
  readonly #stop = new AbortController();
  readonly #running = new Map<VolumeTrack, Promise<void>>();
  #work: Pick<SyncParts, "pool" | "buffers" | "kept" | "counter"> | undefined;
  #loop: Promise<void> | undefined;
  #last: SyncProgress | null = null;
  readonly planner: Planner | undefined;

  /** `sources` in the order of the log's volumes. */
  constructor(options: {
    readonly log: SessionLog;
    readonly sources: readonly SyncSource[];
    readonly hashes: TargetHashes;
    readonly clock: Clock;
    readonly events: Log;
    readonly bytesPerSecond?: number | undefined;
    /** Worker threads by default. */
    readonly openHasher?: () => ChunkHasher;
    /** `directBlockHashesMax` by default. */
    readonly directMax?: number | undefined;
    /** Where a delta-sync of the site is told hashes and asked for wants; without it there are no plans. */
    readonly planSite?: PlanSite;
  }) {
    this.#log = options.log;
    this.#sources = options.sources;
    this.#hashes = options.hashes;
    this.#clock = options.clock;
    this.#events = options.events;
    this.#openHasher = options.openHasher ?? (() => new HashPool());
    this.#throttle = new Throttle(options.bytesPerSecond, options.clock);
    this.#directMax = options.directMax ?? directBlockHashesMax;
    if (options.planSite === undefined) return;
    this.planner = new Planner({
      log: options.log,
      site: options.planSite,
      clock: options.clock,
      events: options.events,
      settled: (track, chunk) => {
        this.#work?.kept.take(track, chunk, track.revision);
        this.#work?.counter.settled(0);
      },
      stop: this.#stop.signal,
    });
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Null while nothing syncs. */
  get progress(): SyncProgress | null {
    const syncing = this.#log.tracks.filter((track) => track.syncing);
    if (this.#work === undefined || syncing.length === 0) return null;
    const remaining = syncing.reduce((sum, track) => sum + track.suspects.count, 0);
    return this.#work.counter.progress(remaining, this.#clock.monotonic());
  }

  /** Where the sync that ended last stood at its end; null before the first. */
  get last(): SyncProgress | null {
    return this.#last;
  }

  /** Chunks that differed and bytes that were shipped since the syncs under way, or the last ones, began. */
  get figures(): Pick<SyncProgress, "differingChunks" | "shippedBytes"> {
    return this.#work?.counter.progress(0, 0) ?? this.#last ?? { differingChunks: 0, shippedBytes: 0 };
  }

  /** Gives up what is under way and waits for it. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error("the sync was stopped"));
    await this.#loop;
    await Promise.allSettled(this.#running.values());
    await this.#work?.pool.close();
    this.#work = undefined;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const waiting = (): VolumeTrack | undefined =>
      this.#log.tracks.find((track) => track.syncing && !this.#running.has(track));
    const over = (): boolean => this.#work !== undefined && this.#running.size === 0;
    while (!signal.aborted) {
      for (let track = waiting(); track !== undefined; track = waiting()) this.#begin(track);
      if (over()) await this.#rest();
      // Only the stop rejects, and the loop looks at it next.
      await this.#log.changes.until(() => waiting() !== undefined || over(), signal).catch(() => undefined);
    }
  }

  #begin(track: VolumeTrack): void {
    const source = this.#sources[track.index];
    if (source === undefined) throw new TypeError(`volume ${track.index} has no source`);
    if (this.#work === undefined) {
      const counter = new SyncCounter(this.#clock.monotonic());
      const kept = new KeptHashes(keptBlockHashBytesMax);
      this.#work = { pool: this.#openHasher(), buffers: new ChunkBuffers(buffersMax), kept, counter };
      this.#events.info("sync.begins", { mode: this.#log.mode });
    }
    // A volume more in a sync that runs is its own.
    if (this.#running.size === 0) this.planner?.expect();
    const parts = {
      ...this.#work,
      log: this.#log,
      hashes: this.#hashes,
      throttle: this.#throttle,
      directMax: this.#directMax,
      planner: this.planner,
      clock: this.#clock,
      events: this.#events,
    };
    this.#running.set(track, this.#sync(track, new VolumeSync(track, source, parts, this.#stop.signal)));
  }

  async #sync(track: VolumeTrack, sync: VolumeSync): Promise<void> {
    try {
      await sync.run();
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    } finally {
      this.#running.delete(track);
      this.#log.changes.fire();
    }
  }

  async #rest(): Promise<void> {
    const work = this.#work;
    if (work === undefined) return;
    this.#work = undefined;
    const last = work.counter.progress(0, this.#clock.monotonic());
    this.#last = last;
    this.#log.changes.fire();
    const { comparedChunks, differingChunks, shippedBytes } = last;
    this.#events.info("sync.ended", { comparedChunks, differingChunks, shippedBytes });
    await work.pool.close();
  }
}
