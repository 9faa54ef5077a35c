import { Buffer } from "node:buffer";
import {
  type BarrierEvent,
  type BatchEvent,
  type BatchInput,
  type ExtentColumns,
  needsBarrier,
  type Seal,
  type SealReason,
} from "./batch.ts";
import { checkContent } from "./check-content.ts";
import { viewOf, writeFixed, writeHeaderCrc, writeU64 } from "./fixed-header.ts";
import { sha256 } from "./hash.ts";
import {
  barrierFlag,
  codecs,
  componentBytes,
  finalTextBytes,
  fixedHeaderBytes,
  frameAt,
  frameEntryBytes,
  hashBytes,
  headerBytesOf,
  minorOf,
  recordAt,
  recordBytes,
  recordKinds,
  sealTextAt,
  sealTextBytes,
  vectorTextBytes,
} from "./layout.ts";
import { tagBytesMax } from "./limits.ts";
import { malformed } from "./malformed.ts";
import { ulidToBytes } from "./ulid-bytes.ts";

/**
 * The object's bytes, ready to be sent and stored; the same input gives the same bytes. Refuses with `MalformedBatch`
 * what the decoder would refuse, so nothing is shipped that cannot be read. `memory` gives so many bytes for the object, whatever they hold.
 */
export function encodeBatch(
  input: BatchInput,
  memory: (length: number) => Uint8Array = Buffer.allocUnsafeSlow,
): Uint8Array {
  const { extents, events, frames } = input;
  checkContent(
    input,
    extents,
    events,
    frames.map((frame) => ({ codec: frame.codec, rawLength: frame.rawLength, storedLength: frame.bytes.length })),
  );
  const texts = events.map(textOf);
  const textLength = sum(texts, (text) => text.length);
  const recordCount = extents.count + events.length;
  const storedLength = sum(frames, (frame) => frame.bytes.length);
  const headerLength = headerBytesOf(fixedHeaderBytes, recordCount, frames.length, textLength);
  const objectLength = headerLength + storedLength + hashBytes;
  const object = memory(objectLength);
  // Only the header needs zeros before it is written; the payload is filled whole.
  object.fill(0, 0, headerLength);
  const criticalFlags = needsBarrier(events) ? barrierFlag : 0;
  writeFixed(object, {
    ...input,
    criticalFlags,
    minor: minorOf(criticalFlags),
    fixedLength: fixedHeaderBytes,
    kind: "batch",
    headerLength,
    objectLength,
    recordCount,
    frameCount: frames.length,
    textLength,
    storedLength,
    rawLength: sum(frames, (frame) => frame.rawLength),
  });
  const view = viewOf(object);
  writeRecords(view, input.firstSequence, extents, events, texts);
  let entry = fixedHeaderBytes + recordCount * recordBytes;
  let place = headerLength;
  for (const frame of frames) {
    view.setUint32(entry + frameAt.storedLength, frame.bytes.length, true);
    view.setUint32(entry + frameAt.rawLength, frame.rawLength, true);
    view.setUint32(entry + frameAt.crc32, frame.crc32, true);
    view.setUint8(entry + frameAt.codec, codecs[frame.codec]);
    object.set(frame.bytes, place);
    entry += frameEntryBytes;
    place += frame.bytes.length;
  }
  for (const text of texts) {
    object.set(text, entry);
    entry += text.length;
  }
  return finish(object, headerLength);
}

const reasonCodes: Readonly<Record<SealReason, number>> = {
  "session-opened": 1,
  "failover-committed": 2,
  "vpg-deleted": 3,
  operator: 4,
};

/** The bytes of a SEAL object (R8). */
export function encodeSeal(seal: Seal): Uint8Array {
  const headerLength = headerBytesOf(fixedHeaderBytes, 0, 0, sealTextBytes);
  const objectLength = headerLength + hashBytes;
  const object = Buffer.alloc(objectLength);
  writeFixed(object, {
    vpgId: seal.vpgId,
    term: seal.term,
    session: seal.session,
    batch: seal.batch,
    criticalFlags: 0,
    minor: minorOf(0),
    fixedLength: fixedHeaderBytes,
    kind: "seal",
    headerLength,
    objectLength,
    previousHash: new Uint8Array(hashBytes),
    configRevision: 0,
    firstSequence: 0,
    lastSequence: 0,
    sourceTimeFirst: seal.sealedAt,
    sourceTimeLast: seal.sealedAt,
    recordCount: 0,
    frameCount: 0,
    textLength: sealTextBytes,
    storedLength: 0,
    rawLength: 0,
  });
  const view = viewOf(object);
  object.set(ulidToBytes(seal.siteId), fixedHeaderBytes + sealTextAt.siteId);
  view.setUint32(fixedHeaderBytes + sealTextAt.reason, reasonCodes[seal.reason], true);
  view.setUint32(fixedHeaderBytes + sealTextAt.followingTerm, seal.followingTerm, true);
  view.setUint32(fixedHeaderBytes + sealTextAt.followingSession, seal.followingSession, true);
  return finish(object, headerLength);
}

/** The name of a seal's reason code, or undefined. */
export function sealReasonOf(code: number): SealReason | undefined {
  return sealReasons.find((reason) => reasonCodes[reason] === code);
}

const sealReasons: readonly SealReason[] = ["session-opened", "failover-committed", "vpg-deleted", "operator"];

function finish(object: Uint8Array, headerLength: number): Uint8Array {
  writeHeaderCrc(object, headerLength);
  const end = object.length - hashBytes;
  object.set(sha256(object.subarray(0, end)), end);
  return object;
}

function writeRecords(
  view: DataView,
  firstSequence: number,
  extents: ExtentColumns,
  events: readonly BatchEvent[],
  texts: readonly Uint8Array[],
): void {
  const { count, kind, volume, sequenceDelta, offset, length, frame, frameOffset } = extents;
  let place = fixedHeaderBytes;
  let text = 0;
  let next = 0;
  for (let index = 0; index <= count; index += 1) {
    const here = index < count ? firstSequence + (sequenceDelta[index] ?? 0) : Number.POSITIVE_INFINITY;
    for (let event = events[next]; event !== undefined && event.sequence < here; event = events[next]) {
      const textBytes = texts[next]?.length ?? 0;
      writeEvent(view, place, event, event.sequence - firstSequence, textBytes, text);
      text += textBytes;
      next += 1;
      place += recordBytes;
    }
    if (index === count) break;
    view.setUint8(place + recordAt.kind, kind[index] ?? 0);
    view.setUint8(place + recordAt.frame, frame[index] ?? 0);
    view.setUint16(place + recordAt.volume, volume[index] ?? 0, true);
    view.setUint32(place + recordAt.sequenceDelta, sequenceDelta[index] ?? 0, true);
    writeU64(view, place + recordAt.offset, offset[index] ?? 0);
    view.setUint32(place + recordAt.length, length[index] ?? 0, true);
    view.setUint32(place + recordAt.frameOffset, frameOffset[index] ?? 0, true);
    place += recordBytes;
  }
}

const eventCodes: Readonly<Record<BatchEvent["kind"], number>> = {
  marker: recordKinds.marker,
  "sync-begin": recordKinds.syncBegin,
  "sync-end": recordKinds.syncEnd,
  resize: recordKinds.resize,
  final: recordKinds.final,
  close: recordKinds.close,
  hold: recordKinds.hold,
  barrier: recordKinds.barrier,
};

function writeEvent(
  view: DataView,
  place: number,
  event: BatchEvent,
  delta: number,
  textBytes: number,
  textPlace: number,
): void {
  view.setUint8(place + recordAt.kind, eventCodes[event.kind]);
  view.setUint32(place + recordAt.sequenceDelta, delta, true);
  if ("volume" in event) view.setUint16(place + recordAt.volume, event.volume, true);
  if ("time" in event) writeU64(view, place + recordAt.offset, event.time);
  if (event.kind === "resize") writeU64(view, place + recordAt.offset, event.sizeBytes);
  if (textBytes > 0) {
    view.setUint32(place + recordAt.length, textBytes, true);
    view.setUint32(place + recordAt.frameOffset, textPlace, true);
  }
}

const noText = new Uint8Array(0);

function textOf(event: BatchEvent, index: number): Uint8Array {
  if (event.kind === "marker") return tagBytes(event.tag, index);
  if (event.kind === "barrier") return barrierText(event, index);
  if (event.kind !== "final") return noText;
  if (event.hash.length !== hashBytes) throw malformed("records.hash", "is not 32 bytes", index);
  const bytes = new Uint8Array(finalTextBytes);
  bytes.set(ulidToBytes(event.operationId), 0);
  bytes.set(event.hash, 16);
  return bytes;
}

function tagBytes(tag: string, index: number): Uint8Array {
  // A lone surrogate would be stored as U+FFFD: another tag than was asked for.
  const bytes = new TextEncoder().encode(tag);
  if (bytes.length > tagBytesMax || !tag.isWellFormed()) {
    throw malformed("records.tag", `is not well-formed text of at most ${tagBytesMax} bytes`, index);
  }
  return bytes;
}

function barrierText({ vector, tag }: BarrierEvent, index: number): Uint8Array {
  const text = tagBytes(tag, index);
  const bytes = new Uint8Array(vectorTextBytes + vector.length * componentBytes + text.length);
  const view = viewOf(bytes);
  view.setUint16(0, vector.length, true);
  let place = vectorTextBytes;
  for (const { session, sequence } of vector) {
    view.setUint32(place, session, true);
    writeU64(view, place + 4, sequence);
    place += componentBytes;
  }
  bytes.set(text, place);
  return bytes;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
