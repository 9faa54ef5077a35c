import { type BatchEvent, extentKinds } from "#core/journal/batch.ts";
import { objectBytesMax } from "#core/journal/limits.ts";
import type { TappedExtents } from "#core/journal/pack.ts";
import { segmentBytes, segmentCopyBytesMax, segmentEventsMax, segmentRecordsMax } from "../limits.ts";

/** The two buffers a segment is built in; they travel to the worker and come back to be used again. */
export interface SegmentBuffers {
  readonly payload: ArrayBuffer;
  readonly columns: ArrayBuffer;
}

/** A segment that is closed: everything of one batch but its hash chain. Plain values, fit for a message to another thread. */
export interface SealedSegment {
  readonly batch: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Source clock, ms since the epoch, of the first and the last record. */
  readonly sourceTimeFirst: number;
  readonly sourceTimeLast: number;
  /** Monotonic, ms, of the last record. */
  readonly lastAt: number;
  readonly extents: number;
  readonly payloadBytes: number;
  readonly events: readonly BatchEvent[];
  readonly buffers: SegmentBuffers;
  /** What it counts for in the buffer's bound until it is encoded. */
  readonly countedBytes: number;
}

/** Columns in one buffer, widest first so that each is aligned: offset f64; sequence delta, length, payload offset u32; volume u16; kind u8. */
const recordBytes = 8 + 4 + 4 + 4 + 2 + 1;
const columnsBytes = segmentRecordsMax * recordBytes;

/** What a segment that is open counts for: as much as its buffers take, and as its batch can be long. */
export const segmentCountedBytes = Math.max(segmentBytes + columnsBytes, objectBytesMax);

/** What a batch adds to the records and the payload: fixed header, frame table, text, checks, with some to spare. */
const batchOverheadBytes = 2048;
/** Bytes of a record in a batch (core/journal/FORMAT.md). */
const batchRecordBytes = 24;

export function newSegmentBuffers(): SegmentBuffers {
  return { payload: new ArrayBuffer(segmentBytes), columns: new ArrayBuffer(columnsBytes) };
}

/** True for buffers that another segment can be built in. */
export function isFullSized(buffers: SegmentBuffers): boolean {
  return buffers.payload.byteLength === segmentBytes && buffers.columns.byteLength === columnsBytes;
}

function columnsOf(buffer: ArrayBuffer, records: number): Omit<TappedExtents, "count"> {
  return {
    offset: new Float64Array(buffer, 0, records),
    sequenceDelta: new Uint32Array(buffer, records * 8, records),
    length: new Uint32Array(buffer, records * 12, records),
    payloadOffset: new Uint32Array(buffer, records * 16, records),
    volume: new Uint16Array(buffer, records * 20, records),
    kind: new Uint8Array(buffer, records * 22, records),
  };
}

/** The extents of a sealed segment as `packExtents` takes them; the memory is the segment's. */
export function extentsOf(segment: SealedSegment): TappedExtents {
  const records = segment.buffers.columns.byteLength / recordBytes;
  return { count: segment.extents, ...columnsOf(segment.buffers.columns, records) };
}

/** A batch in the making. */
export class OpenSegment {
  readonly batch: number;
  readonly firstSequence: number;
  readonly buffers: SegmentBuffers;
  readonly firstAt: number;
  readonly #columns: Omit<TappedExtents, "count">;
  readonly #payload: Uint8Array;
  readonly #events: BatchEvent[] = [];
  readonly #sourceTimeFirst: number;
  #extents = 0;
  #payloadBytes = 0;
  #lastSequence: number;

  /** `sourceTime` is the source clock, `at` is its monotonic reading, both of the moment its first record is taken. */
  constructor(batch: number, firstSequence: number, buffers: SegmentBuffers, sourceTime: number, at: number) {
    this.batch = batch;
    this.firstSequence = firstSequence;
    this.buffers = buffers;
    this.firstAt = at;
    this.#columns = columnsOf(buffers.columns, segmentRecordsMax);
    this.#payload = new Uint8Array(buffers.payload);
    this.#sourceTimeFirst = sourceTime;
    this.#lastSequence = firstSequence - 1;
  }

  get lastSequence(): number {
    return this.#lastSequence;
  }

  hasRoom(payloadBytes: number): boolean {
    return this.#payloadBytes + payloadBytes <= segmentBytes && this.#extents < segmentRecordsMax;
  }

  hasRoomForEvent(): boolean {
    return this.#events.length < segmentEventsMax;
  }

  /** Copies the bytes. The caller asked `hasRoom`. */
  write(sequence: number, volume: number, offset: number, bytes: Uint8Array): void {
    this.#payload.set(bytes, this.#payloadBytes);
    this.#place(sequence, volume, offset, bytes.length, extentKinds.write);
    this.#payloadBytes += bytes.length;
  }

  zero(sequence: number, volume: number, offset: number, length: number): void {
    this.#place(sequence, volume, offset, length, extentKinds.zero);
  }

  event(event: BatchEvent): void {
    this.#events.push(event);
    this.#lastSequence = event.sequence;
  }

  /** Takes its buffers away unless it holds so little that a copy is cheaper; `kept` are then free again. */
  seal(sourceTime: number, at: number): { readonly sealed: SealedSegment; readonly kept: SegmentBuffers | undefined } {
    const copied = this.#payloadBytes <= segmentCopyBytesMax;
    const buffers = copied ? this.#copy() : this.buffers;
    const sealed: SealedSegment = {
      batch: this.batch,
      firstSequence: this.firstSequence,
      lastSequence: this.#lastSequence,
      sourceTimeFirst: this.#sourceTimeFirst,
      sourceTimeLast: sourceTime,
      lastAt: at,
      extents: this.#extents,
      payloadBytes: this.#payloadBytes,
      events: this.#events,
      buffers,
      countedBytes: copied
        ? this.#payloadBytes + (this.#extents + this.#events.length) * batchRecordBytes + batchOverheadBytes
        : segmentCountedBytes,
    };
    return { sealed, kept: copied ? this.buffers : undefined };
  }

  #place(sequence: number, volume: number, offset: number, length: number, kind: number): void {
    const index = this.#extents;
    const columns = this.#columns;
    columns.sequenceDelta[index] = sequence - this.firstSequence;
    columns.volume[index] = volume;
    columns.kind[index] = kind;
    columns.offset[index] = offset;
    columns.length[index] = length;
    columns.payloadOffset[index] = this.#payloadBytes;
    this.#extents = index + 1;
    this.#lastSequence = sequence;
  }

  #copy(): SegmentBuffers {
    const count = this.#extents;
    const buffers = {
      payload: this.buffers.payload.slice(0, this.#payloadBytes),
      columns: new ArrayBuffer(count * recordBytes),
    };
    const copy = columnsOf(buffers.columns, count);
    copy.offset.set(this.#columns.offset.subarray(0, count));
    copy.sequenceDelta.set(this.#columns.sequenceDelta.subarray(0, count));
    copy.length.set(this.#columns.length.subarray(0, count));
    copy.payloadOffset.set(this.#columns.payloadOffset.subarray(0, count));
    copy.volume.set(this.#columns.volume.subarray(0, count));
    copy.kind.set(this.#columns.kind.subarray(0, count));
    return buffers;
  }
}
