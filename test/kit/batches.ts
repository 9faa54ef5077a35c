/** Material for this folder's tests: small batches, and headers changed by hand with their checks made right again. */
import { type BatchEvent, type BatchInput, type ExtentColumns, extentKinds } from "#core/journal/batch.ts";
import { encodeBatch } from "#core/journal/encode.ts";
import { viewOf, writeHeaderCrc } from "#core/journal/fixed-header.ts";
import type { FrameLevel } from "#core/journal/frame.ts";
import { sha256 } from "#core/journal/hash.ts";
import { at, hashBytes } from "#core/journal/layout.ts";
import { packExtents, type TappedExtents } from "#core/journal/pack.ts";

export const vpgId = "01k3vpg0000000000000000001";
export const siteId = "01k3s1te000000000000000001";
export const operationId = "01k3zper4t0000000000000001";

export interface SampleExtent {
  readonly volume?: number;
  readonly sequence: number;
  readonly offset: number;
  /** Bytes of a write. */
  readonly bytes?: Uint8Array;
  /** Length of a zero. */
  readonly zero?: number;
}

/** Extents as the tap would hand them over. */
export function tapped(
  firstSequence: number,
  samples: readonly SampleExtent[],
): { extents: TappedExtents; payload: Uint8Array } {
  const writes = samples.map((sample) => sample.bytes ?? new Uint8Array(0));
  const payload = Buffer.concat(writes);
  let place = 0;
  const payloadOffset = writes.map((bytes) => {
    place += bytes.length;
    return place - bytes.length;
  });
  return {
    payload,
    extents: {
      count: samples.length,
      kind: Uint8Array.from(samples, (sample) => (sample.bytes ? extentKinds.write : extentKinds.zero)),
      volume: Uint16Array.from(samples, (sample) => sample.volume ?? 0),
      sequenceDelta: Uint32Array.from(samples, (sample) => sample.sequence - firstSequence),
      offset: Float64Array.from(samples, (sample) => sample.offset),
      length: Uint32Array.from(samples, (sample) => sample.bytes?.length ?? sample.zero ?? 0),
      payloadOffset: Uint32Array.from(payloadOffset),
    },
  };
}

export interface SampleBatch extends Partial<Omit<BatchInput, "extents" | "frames" | "events">> {
  readonly extents?: readonly SampleExtent[];
  readonly events?: readonly BatchEvent[];
  readonly level?: FrameLevel;
}

/** A batch input of sensible facts; sequences follow from the records unless given. */
export function sampleInput(sample: SampleBatch): BatchInput {
  const { extents = [], events = [], level = "zstd1", ...facts } = sample;
  const sequences = [...extents, ...events].map((record) => record.sequence);
  const firstSequence = facts.firstSequence ?? Math.min(...sequences);
  const raw = tapped(firstSequence, extents);
  const batch = facts.batch ?? 0;
  return {
    vpgId,
    term: 1,
    session: 1,
    batch,
    previousHash: batch === 0 ? new Uint8Array(hashBytes) : sha256(Uint8Array.of(batch)),
    configRevision: 1,
    sourceTimeFirst: 1_767_225_600_000,
    sourceTimeLast: 1_767_225_605_000,
    lastSequence: Math.max(...sequences),
    ...facts,
    firstSequence,
    events,
    ...packExtents(raw.extents, raw.payload, level),
  };
}

export function sampleBatch(sample: SampleBatch): Uint8Array {
  return encodeBatch(sampleInput(sample));
}

/** `length` bytes that compress (a short period) and differ by `seed`. */
export function patterned(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index % 61) + seed);
}

/** A copy changed by `change`, its header CRC32 and SHA-256 made right again. */
export function tampered(object: Uint8Array, change: (view: DataView, bytes: Uint8Array) => void): Uint8Array {
  const bytes = Uint8Array.from(object);
  const view = viewOf(bytes);
  const headerLength = view.getUint32(at.headerLength, true);
  change(view, bytes);
  writeHeaderCrc(bytes, headerLength);
  const end = bytes.length - hashBytes;
  bytes.set(sha256(bytes.subarray(0, end)), end);
  return bytes;
}

/** The columns as plain arrays, to be compared. */
export function plainColumns(columns: ExtentColumns): Readonly<Record<string, readonly number[]>> {
  const cut = (array: ArrayLike<number>): number[] => Array.from(array).slice(0, columns.count);
  return {
    kind: cut(columns.kind),
    volume: cut(columns.volume),
    sequenceDelta: cut(columns.sequenceDelta),
    offset: cut(columns.offset),
    length: cut(columns.length),
    frame: cut(columns.frame),
    frameOffset: cut(columns.frameOffset),
  };
}
