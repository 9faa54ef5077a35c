import type { BatchEvent } from "#core/journal/batch.ts";
import { writeBytesMax, zeroBytesMax } from "#core/journal/limits.ts";
import type { Clock } from "#core/ports.ts";
import type { Backlog } from "./backlog.ts";
import { OpenSegment } from "./segment.ts";
import type { SegmentSink } from "./session-types.ts";

/** One session's records: numbered, put into segments, cut and handed on. Whether anything may be journaled is the log's to know. */
export class SegmentStream {
  readonly backlog: Backlog;
  readonly #sink: SegmentSink;
  readonly #clock: Clock;
  #open: OpenSegment | undefined;
  #batches = 0;
  #lastSequence = 0;
  #appendedSinceMarker = true;

  constructor(options: { readonly backlog: Backlog; readonly sink: SegmentSink; readonly clock: Clock }) {
    this.backlog = options.backlog;
    this.#sink = options.sink;
    this.#clock = options.clock;
  }

  get lastSequence(): number {
    return this.#lastSequence;
  }

  /** True from the first moment, so that a session has a checkpoint of its own. */
  get appendedSinceMarker(): boolean {
    return this.#appendedSinceMarker;
  }

  /** Everything appended is acknowledged. */
  get acknowledged(): boolean {
    return this.backlog.acknowledgedSequence === this.#lastSequence;
  }

  /** Milliseconds since the oldest record that is not acknowledged; 0 without one. */
  get lagMs(): number {
    return this.backlog.lagMs(this.#open?.firstAt, this.#clock.monotonic());
  }

  /** Answers how many of the bytes found room. */
  write(volume: number, offset: number, bytes: Uint8Array): number {
    for (let done = 0; done < bytes.length; done += writeBytesMax) {
      const length = Math.min(writeBytesMax, bytes.length - done);
      const segment = this.#room(length);
      if (segment === undefined) return done;
      const piece = length === bytes.length ? bytes : bytes.subarray(done, done + length);
      segment.write(this.#next(), volume, offset + done, piece);
    }
    return bytes.length;
  }

  /** Answers how much of the length found room. */
  zero(volume: number, offset: number, length: number): number {
    for (let done = 0; done < length; done += zeroBytesMax) {
      const segment = this.#room(0);
      if (segment === undefined) return done;
      segment.zero(this.#next(), volume, offset + done, Math.min(zeroBytesMax, length - done));
    }
    return length;
  }

  /** False when there was no room. */
  event(make: (sequence: number) => BatchEvent): boolean {
    if (this.#open?.hasRoomForEvent() === false) this.cut();
    const segment = this.#open ?? this.#room(0);
    if (segment === undefined) return false;
    segment.event(make(this.#next()));
    return true;
  }

  /** What is appended has its marker, or needs none of its own. */
  marked(): void {
    this.#appendedSinceMarker = false;
  }

  /** Seals the open segment and hands it on. */
  cut(lastAt = this.#clock.monotonic()): void {
    const segment = this.#open;
    if (segment === undefined) return;
    this.#open = undefined;
    const { sealed, kept } = segment.seal(this.#clock.now(), lastAt);
    this.backlog.sealed(sealed, segment.firstAt, kept);
    this.#sink.push(sealed);
  }

  #next(): number {
    this.#appendedSinceMarker = true;
    this.#lastSequence += 1;
    return this.#lastSequence;
  }

  /** A segment with room for a record, or undefined past the buffer's bound. */
  #room(payloadBytes: number): OpenSegment | undefined {
    if (this.#open?.hasRoom(payloadBytes) === true) return this.#open;
    this.cut();
    const buffers = this.backlog.take();
    if (buffers === undefined) return undefined;
    const [time, at] = [this.#clock.now(), this.#clock.monotonic()];
    this.#open = new OpenSegment(this.#batches, this.#lastSequence + 1, buffers, time, at);
    this.#batches += 1;
    return this.#open;
  }
}
