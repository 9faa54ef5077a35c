import { FarshoreError, RecoverySiteRegressed, Transient } from "#core/errors.ts";
import { batchHash } from "#core/journal/hash.ts";
import type { Clock, Random } from "#core/ports.ts";
import { batchesInFlightMax, gapsMax, refusedResendMs, resendMsMax, resendMsMin } from "../limits.ts";
import type { SealedSegment, SegmentBuffers } from "../tap/segment.ts";
import { Throttle } from "../throttle.ts";
import { ObjectMemory } from "./object-memory.ts";
import { levelFor, pressSegment, type SessionPlace } from "./press.ts";
import { UploadWindow } from "./upload-window.ts";

/**
 * Commits one batch at the site. Throws the error that the site named, or `Transient`, also when `timeoutMs` are over. `object` is the
 * engine's to use again once this resolved.
 */
export type Upload = (
  batch: number,
  object: Uint8Array,
  ageMs: number,
  signal: AbortSignal,
  timeoutMs: number,
) => Promise<void>;

export interface ShipEvents {
  /** The segment is a batch of `storedBytes` now, with this hash; its buffers are free. */
  encoded(batch: number, storedBytes: number, buffers: SegmentBuffers, hash: Uint8Array): void;
  /** Every batch up to this one is durable at the site. */
  acknowledged(batch: number): void;
  /** The site will not take this session's batches any more. */
  stopped(error: FarshoreError): void;
  /** A sending failed and will be repeated: for the log. Told once until the next success. */
  troubled(error: FarshoreError): void;
}

interface Retained {
  readonly object: Uint8Array;
  /** Monotonic, ms, of its last record. */
  readonly lastAt: number;
  /** The site has it, though perhaps not all before it. */
  taken: boolean;
  /** An upload of it failed: what it left with the socket may still be looked at, so its memory isn't used again. */
  failed: boolean;
}

/** Refusals that end the session as far as this process is concerned; everything else is sent again. */
const final: ReadonlySet<string> = new Set([
  "Fenced",
  "Diverged",
  "MalformedBatch",
  "InvalidInput",
  "NotFound",
  "UnsupportedFormat",
  "Corrupt",
  "RecoverySiteRegressed",
]);

/**
 * Turns segments into batches and brings them to the site: encoded in order, since each carries the hash of the one before, then up to
 * sixteen at once on the way. A batch is kept as it was encoded, and sent again byte for byte, until all before it are acknowledged too.
 */
export class ShipEngine {
  readonly #place: SessionPlace;
  readonly #upload: Upload;
  readonly #events: ShipEvents;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #stop = new AbortController();
  readonly #queue: SealedSegment[] = [];
  readonly #retained = new Map<number, Retained>();
  readonly #memory = new ObjectMemory();
  readonly #window = new UploadWindow(batchesInFlightMax);
  readonly #throttle: Throttle;
  #queuedBytes = 0;
  #encoding = false;
  #previousHash: Uint8Array = new Uint8Array(32);
  #nextToSend = 0;
  #acknowledged = -1;
  #troubled = false;
  #gaps = 0;

  constructor(options: {
    readonly place: SessionPlace;
    readonly upload: Upload;
    readonly events: ShipEvents;
    readonly clock: Clock;
    readonly random: Random;
  }) {
    this.#place = options.place;
    this.#upload = options.upload;
    this.#events = options.events;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#throttle = new Throttle(undefined, options.clock);
  }

  /** Bytes a second that are sent at most, resent ones too; undefined for no limit. */
  setRate(bytesPerSecond: number | undefined): void {
    this.#throttle.set(bytesPerSecond);
  }

  push(segment: SealedSegment): void {
    if (this.#stop.signal.aborted) return;
    this.#queue.push(segment);
    this.#queuedBytes += segment.countedBytes;
    if (!this.#encoding) void this.#encodeAll();
  }

  /** Nothing more is encoded or sent; what is under way is given up. */
  stop(): void {
    this.#stop.abort(new Transient("the shipper was stopped"));
    this.#queue.length = 0;
    this.#retained.clear();
    this.#window.release();
  }

  async #encodeAll(): Promise<void> {
    this.#encoding = true;
    for (let segment = this.#queue.shift(); segment !== undefined; segment = this.#queue.shift()) {
      this.#encode(segment);
      this.#sendMore();
      // Replies and sockets have their turn between two batches.
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#encoding = false;
  }

  #encode(segment: SealedSegment): void {
    const level = levelFor(this.#queuedBytes - segment.countedBytes);
    this.#queuedBytes -= segment.countedBytes;
    const object = pressSegment(this.#place, segment, this.#previousHash, level, (length) => this.#memory.take(length));
    // A copy: the chain outlives the batch.
    this.#previousHash = batchHash(object).slice();
    this.#retained.set(segment.batch, { object, lastAt: segment.lastAt, taken: false, failed: false });
    this.#events.encoded(segment.batch, object.length, segment.buffers, this.#previousHash);
  }

  #sendMore(): void {
    while (this.#nextToSend <= this.#acknowledged + batchesInFlightMax && this.#retained.has(this.#nextToSend)) {
      void this.#send(this.#nextToSend);
      this.#nextToSend += 1;
    }
  }

  /** Sends a batch until it is taken or the session has ended. Never rejects. */
  async #send(batch: number): Promise<void> {
    for (let attempt = 0; !this.#stop.signal.aborted; attempt += 1) {
      const error = await this.#sendOnce(batch);
      if (error === undefined || this.#stop.signal.aborted) return;
      await this.#refused(batch, error, attempt);
    }
  }

  /** What went wrong; undefined when nothing did, or there is nothing to send any more. */
  async #sendOnce(batch: number): Promise<FarshoreError | undefined> {
    const now = (): number => this.#clock.monotonic();
    // Before the window: what waits for the rate is no slow upload. Only the stop rejects, and what follows finds nothing to send.
    const bytes = this.#retained.get(batch)?.object.length ?? 0;
    if (this.#throttle.limits) await this.#throttle.take(bytes, this.#stop.signal).catch(() => undefined);
    const turn = await this.#window.enter(batch, now);
    const retained = this.#retained.get(batch);
    if (retained === undefined || retained.taken) {
      this.#window.done(turn, now());
      return undefined;
    }
    const { signal } = this.#stop;
    try {
      await this.#upload(batch, retained.object, now() - retained.lastAt, signal, turn.timeoutMs);
    } catch (thrown) {
      retained.failed = true;
      const error = asNamed(thrown);
      if (error instanceof Transient) this.#window.failed(turn, now());
      else this.#window.done(turn, now());
      return error;
    }
    this.#window.done(turn, now());
    retained.taken = true;
    this.#took();
    return undefined;
  }

  #took(): void {
    this.#troubled = false;
    const before = this.#acknowledged;
    for (;;) {
      const next = this.#retained.get(this.#acknowledged + 1);
      if (next?.taken !== true) break;
      this.#acknowledged += 1;
      this.#retained.delete(this.#acknowledged);
      if (!next.failed) this.#memory.give(next.object);
    }
    if (this.#acknowledged === before) return;
    this.#gaps = 0;
    this.#events.acknowledged(this.#acknowledged);
    this.#sendMore();
  }

  async #refused(batch: number, error: FarshoreError, attempt: number): Promise<void> {
    if (final.has(error.name)) {
      this.#end(error);
      return;
    }
    if (error.name === "Gap") {
      this.#fillGap(batch);
      if (this.#stop.signal.aborted) return;
    }
    if (!this.#troubled) {
      this.#troubled = true;
      this.#events.troubled(error);
    }
    const pause =
      error.kind === "operator" && error.name !== "LimitExceeded" ? refusedResendMs : this.#backoff(attempt);
    // Only the stop rejects, and the loop looks at it next.
    await this.#clock.sleep(pause, this.#stop.signal).catch(() => undefined);
  }

  /** The site lacks a batch before this one, whatever it answered then: all that are still here go again. */
  #fillGap(batch: number): void {
    if (batch === this.#acknowledged + 1) {
      this.#gaps += 1;
      if (this.#gaps >= gapsMax) {
        this.#end(
          new RecoverySiteRegressed(
            `The recovery site lacks batches that it acknowledged before ${batch}; a new session with a full sync follows`,
            { batch },
          ),
        );
      }
      return;
    }
    for (const [before, retained] of this.#retained) {
      if (before >= batch || !retained.taken) continue;
      retained.taken = false;
      void this.#send(before);
    }
  }

  #backoff(attempt: number): number {
    const most = Math.min(resendMsMax, resendMsMin * 2 ** Math.min(attempt, 10));
    return most * (1 - (this.#random.bytes(1)[0] ?? 0) / 512);
  }

  #end(error: FarshoreError): void {
    if (this.#stop.signal.aborted) return;
    this.stop();
    this.#events.stopped(error);
  }
}

function asNamed(error: unknown): FarshoreError {
  if (error instanceof FarshoreError) return error;
  return new Transient(error instanceof Error ? error.message : String(error), {}, { cause: error });
}
