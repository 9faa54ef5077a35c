import { sectorBytesMin } from "#core/blocks/geometry.ts";
import type { BatchEvent, ExtentColumns, FrameCodec } from "./batch.ts";
import { extentKinds } from "./batch.ts";
import { frameBytesMax, safeIntegerMax, u32Max, volumeNumberMax, writeBytesMax, zeroBytesMax } from "./limits.ts";
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
 * - A marker, final or close is the last record.
 */
export function checkContent(
  range: { readonly firstSequence: number; readonly lastSequence: number },
  extents: ExtentColumns,
  events: readonly BatchEvent[],
  frames: readonly FrameLengths[],
): void {
  checkFrameLengths(frames);
  checkExtents(extents, frames);
  checkEvents(range.lastSequence, events);
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

function checkEvents(lastSequence: number, events: readonly BatchEvent[]): void {
  for (const [index, event] of events.entries()) {
    switch (event.kind) {
      case "marker":
        if (!(Number.isInteger(event.time) && event.time >= 0 && event.time <= safeIntegerMax)) {
          throw malformed("records.time", `${event.time} is not allowed`, index);
        }
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
    const ends = event.kind === "marker" || event.kind === "final" || event.kind === "close";
    if (ends && event.sequence !== lastSequence) {
      throw malformed("records.kind", `${event.kind} is not the batch's last record`, index);
    }
  }
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
