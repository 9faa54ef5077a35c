import { sectorBytesMin } from "#core/blocks/geometry.ts";
import type { BarrierEvent, BatchEvent, ExtentColumns, FrameCodec } from "./batch.ts";
import { extentKinds } from "./batch.ts";
import {
  componentsMax,
  frameBytesMax,
  safeIntegerMax,
  u32Max,
  volumeNumberMax,
  writeBytesMax,
  zeroBytesMax,
} from "./limits.ts";
import { malformed } from "./malformed.ts";

interface FrameLengths {
  readonly codec: FrameCodec;
  readonly storedLength: number;
  readonly rawLength: number;
}

/**
 * What holds of every batch's records and frames, whoever made it: encoder and decoder both ask. Throws `MalformedBatch`.
 *
 * - Sequences rise strictly from `firstSequence` on, and the last record has `lastSequence`.
 * - Offsets and lengths are whole sectors of 512 bytes, within the limits.
 * - Writes fill the frames in order without a hole, so that no stored byte is without meaning.
 * - A marker, final, close, hold or barrier is the last record.
 * - A barrier's vector ascends by session, and its own session's component stands before it.
 */
export function checkContent(
  range: { readonly session: number; readonly firstSequence: number; readonly lastSequence: number },
  extents: ExtentColumns,
  events: readonly BatchEvent[],
  frames: readonly FrameLengths[],
): void {
  checkFrameLengths(frames);
  checkExtents(extents, frames);
  checkEvents(range, events);
  checkOrder(range, extents, events);
}

function checkFrameLengths(frames: readonly FrameLengths[]): void {
  for (const [index, frame] of frames.entries()) {
    if (frame.rawLength < 1 || frame.rawLength > frameBytesMax) {
      throw malformed("frames.rawLength", `${frame.rawLength} is out of bounds`, index);
    }
    const fits = frame.codec === "raw" ? frame.storedLength === frame.rawLength : frame.storedLength < frame.rawLength;
    if (frame.storedLength < 1 || !fits) {
      throw malformed("frames.storedLength", `${frame.storedLength} does not fit its codec`, index);
    }
  }
}

function checkExtents(extents: ExtentColumns, frames: readonly FrameLengths[]): void {
  const { count, kind, offset, length, frame, frameOffset } = extents;
  let current = -1;
  let filled = 0;
  let room = 0;
  for (let index = 0; index < count; index += 1) {
    const bytes = length[index] ?? 0;
    const start = offset[index] ?? -1;
    const most = kind[index] === extentKinds.write ? writeBytesMax : zeroBytesMax;
    if (bytes < sectorBytesMin || bytes > most || bytes % sectorBytesMin !== 0) {
      throw malformed("records.length", `${bytes} is not allowed`, index);
    }
    if (!(start >= 0 && start + bytes <= safeIntegerMax && start % sectorBytesMin === 0)) {
      throw malformed("records.offset", `${start} is not allowed`, index);
    }
    if (kind[index] === extentKinds.zero) {
      if (frame[index] !== 0) throw malformed("records.frame", "of a zero is not 0", index);
      if (frameOffset[index] !== 0) throw malformed("records.frameOffset", "of a zero is not 0", index);
      continue;
    }
    if (kind[index] !== extentKinds.write) throw malformed("records.kind", `${kind[index]} is unknown`, index);
    if (filled === room) {
      current += 1;
      filled = 0;
      room = frames[current]?.rawLength ?? 0;
    }
    if (frame[index] !== current) throw malformed("records.frame", "is not the frame being filled", index);
    if (frameOffset[index] !== filled) throw malformed("records.frameOffset", "leaves a hole or overlaps", index);
    filled += bytes;
    if (filled > room) throw malformed("records.length", "reaches beyond its frame", index);
  }
  if (filled !== room || current + 1 !== frames.length) {
    throw malformed("frames", "hold bytes that belong to no record");
  }
}

const lastKinds: ReadonlySet<BatchEvent["kind"]> = new Set(["marker", "final", "close", "hold", "barrier"]);

function checkEvents(
  range: { readonly session: number; readonly lastSequence: number },
  events: readonly BatchEvent[],
): void {
  for (const [index, event] of events.entries()) {
    switch (event.kind) {
      case "marker":
      case "hold":
      case "barrier":
        if (!(Number.isInteger(event.time) && event.time >= 0 && event.time <= safeIntegerMax)) {
          throw malformed("records.time", `${event.time} is not allowed`, index);
        }
        if (event.kind === "barrier") checkVector(range.session, event, index);
        break;
      case "resize":
        if (!(event.sizeBytes > 0 && event.sizeBytes <= safeIntegerMax && event.sizeBytes % sectorBytesMin === 0)) {
          throw malformed("records.sizeBytes", `${event.sizeBytes} is not allowed`, index);
        }
        break;
    }
    if (
      "volume" in event &&
      !(Number.isInteger(event.volume) && event.volume >= 0 && event.volume <= volumeNumberMax)
    ) {
      throw malformed("records.volume", `${event.volume} is not allowed`, index);
    }
    if (lastKinds.has(event.kind) && event.sequence !== range.lastSequence) {
      throw malformed("records.kind", `${event.kind} is not the batch's last record`, index);
    }
  }
}

function checkVector(own: number, { sequence, vector }: BarrierEvent, index: number): void {
  const refuse = (what: string): never => {
    throw malformed("records.vector", what, index);
  };
  if (vector.length < 2 || vector.length > componentsMax) refuse(`has ${vector.length} components`);
  let before = 0;
  for (const component of vector) {
    const within = (value: number, most: number): boolean => Number.isInteger(value) && value >= 1 && value <= most;
    if (!within(component.session, u32Max) || !within(component.sequence, safeIntegerMax)) refuse("is no position");
    if (component.session <= before) refuse("does not ascend by session");
    before = component.session;
  }
  const hold = vector.find((component) => component.session === own);
  if (hold === undefined || hold.sequence >= sequence) refuse("has no hold of its own session before it");
}

/** Walks extents and events as one list in order of sequence. */
function checkOrder(
  range: { readonly firstSequence: number; readonly lastSequence: number },
  extents: ExtentColumns,
  events: readonly BatchEvent[],
): void {
  const { count, sequenceDelta } = extents;
  const deltaMost = range.lastSequence - range.firstSequence;
  let delta = -1;
  let next = 0;
  for (let index = 0; index <= count; index += 1) {
    const here = index < count ? (sequenceDelta[index] ?? 0) : u32Max + 1;
    for (; next < events.length; next += 1) {
      const event = (events[next]?.sequence ?? 0) - range.firstSequence;
      if (event > here) break;
      if (!(Number.isInteger(event) && event > delta && event !== here)) {
        throw malformed("records.sequence", "does not rise", next);
      }
      delta = event;
    }
    if (index === count) break;
    if (here <= delta) throw malformed("records.sequence", "does not rise", index);
    delta = here;
  }
  if (delta !== deltaMost) throw malformed("lastSequence", "is not the last record's");
}
