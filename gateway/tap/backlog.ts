import { encodingSegments, pooledSegmentsMax } from "../limits.ts";
import {
  isFullSized,
  newSegmentBuffers,
  type SealedSegment,
  type SegmentBuffers,
  segmentCountedBytes,
} from "./segment.ts";

interface PendingBatch {
  readonly lastSequence: number;
  /** Monotonic, ms, of its first record. */
  readonly firstAt: number;
  /** Raw until it is encoded, then as encoded. */
  bytes: number;
  encoded: boolean;
}

/** What the encoder's own work may take; it counts from the start, used or not. */
const reserveBytes = encodingSegments * segmentCountedBytes;

/**
 * The journal data in memory, counted against the one bound of R6: the open segment from the moment its buffers are taken, segments
 * that are sealed and raw, batches that are encoded and not acknowledged, buffers kept for reuse, and a reserve. A segment counts for at least what its batch
 * can be long, so that nothing here grows but by taking buffers.
 */
export class Backlog {
  readonly #bytesMax: number;
  readonly #pending = new Map<number, PendingBatch>();
  readonly #free: SegmentBuffers[] = [];
  #bytes = 0;
  #rawBytes = 0;
  #openBytes = 0;
  #acknowledgedBatch = -1;
  #acknowledgedSequence = 0;
  #shippedBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Everything that counts. */
  get bytes(): number {
    return this.#bytes + this.#openBytes + this.#free.length * segmentCountedBytes + reserveBytes;
  }

  /** Of it, what stands raw before the encoder. */
  get rawBytes(): number {
    return this.#rawBytes;
  }

  get acknowledgedBatch(): number {
    return this.#acknowledgedBatch;
  }

  get acknowledgedSequence(): number {
    return this.#acknowledgedSequence;
  }

  /** Stored bytes of the acknowledged batches. */
  get shippedBytes(): number {
    return this.#shippedBytes;
  }

  /** Sealed and not acknowledged. */
  get unacknowledgedBytes(): number {
    return this.#bytes;
  }

  /** Monotonic, ms, of the oldest record that is sealed and unacknowledged. */
  get oldestAt(): number | undefined {
    return this.#pending.get(this.#acknowledgedBatch + 1)?.firstAt;
  }

  /** Buffers for a segment, or undefined when they would pass the bound. */
  take(): SegmentBuffers | undefined {
    const used = this.#free.pop();
    if (this.bytes + segmentCountedBytes > this.#bytesMax) return undefined;
    this.#openBytes += segmentCountedBytes;
    return used ?? newSegmentBuffers();
  }

  /** The open segment was sealed; its buffers went along unless `kept`. */
  sealed(segment: SealedSegment, firstAt: number, kept: SegmentBuffers | undefined): void {
    this.#openBytes -= segmentCountedBytes;
    this.#bytes += segment.countedBytes;
    this.#rawBytes += segment.countedBytes;
    this.#pending.set(segment.batch, {
      lastSequence: segment.lastSequence,
      firstAt,
      bytes: segment.countedBytes,
      encoded: false,
    });
    if (kept !== undefined) this.recycle(kept);
  }

  /** The encoder is done with a segment, which is `storedBytes` long as a batch; full-sized buffers come back. */
  encoded(batch: number, storedBytes: number, buffers: SegmentBuffers): void {
    const pending = this.#pending.get(batch);
    if (pending === undefined || pending.encoded) throw new TypeError(`batch ${batch} was not waiting to be encoded`);
    this.#rawBytes -= pending.bytes;
    this.#bytes += storedBytes - pending.bytes;
    pending.bytes = storedBytes;
    pending.encoded = true;
    if (isFullSized(buffers)) this.recycle(buffers);
  }

  /** Every batch up to `batch` is acknowledged. */
  acknowledged(batch: number): void {
    for (let done = this.#acknowledgedBatch + 1; done <= batch; done += 1) {
      const pending = this.#pending.get(done);
      if (pending === undefined || !pending.encoded) throw new TypeError(`batch ${done} was not waiting for an answer`);
      this.#bytes -= pending.bytes;
      this.#shippedBytes += pending.bytes;
      this.#acknowledgedSequence = pending.lastSequence;
      this.#pending.delete(done);
      this.#acknowledgedBatch = done;
    }
  }

  recycle(buffers: SegmentBuffers): void {
    const room = this.bytes + segmentCountedBytes <= this.#bytesMax;
    if (room && this.#free.length < pooledSegmentsMax) this.#free.push(buffers);
  }

  /** Milliseconds from the oldest unacknowledged record, the open segment's first included, to `now` (monotonic); 0 without one. */
  lagMs(openSince: number | undefined, now: number): number {
    const oldest = this.oldestAt ?? openSince;
    return oldest === undefined ? 0 : Math.max(0, Math.round(now - oldest));
  }
}
