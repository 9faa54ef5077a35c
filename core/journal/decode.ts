import type { BatchEvent, BatchHeader, ExtentColumns, FrameInfo, Seal } from "./batch.ts";
import { cutExtentColumns, needsBarrier, newExtentColumns } from "./batch.ts";
import { checkContent } from "./check-content.ts";
import { sealReasonOf } from "./encode.ts";
import { type FixedHeader, readFixed, readU64, requireZeros, viewOf } from "./fixed-header.ts";
import { bytesEqual, sha256 } from "./hash.ts";
import {
  barrierFlag,
  codecs,
  componentBytes,
  finalTextBytes,
  frameAt,
  frameEntryBytes,
  hashBytes,
  paddedText,
  recordAt,
  recordBytes,
  recordKinds,
  sealTextAt,
  sealTextBytes,
  vectorTextBytes,
} from "./layout.ts";
import { objectBytesMax, tagBytesMax } from "./limits.ts";
import { malformed } from "./malformed.ts";
import type { Position } from "./position.ts";
import { ulidFromBytes } from "./ulid-bytes.ts";

/**
 * The header of a batch from a prefix of the object that holds it whole (`headerLength` says how much that is). Strict:
 * every field is within its bounds, every reserved bit is zero, records and frames fit each other. `expect.size` is the
 * object's size where the store told it. Throws `MalformedBatch` with `details.field`, or `UnsupportedFormat`.
 */
export function decodeHeader(bytes: Uint8Array, expect: { readonly size?: number } = {}): BatchHeader {
  const fixed = readFixed(bytes, expect.size);
  if (fixed.kind !== "batch") throw malformed("kind", "is that of a seal");
  return readTables(bytes, fixed);
}

/** A whole SEAL object. Throws `MalformedBatch` with `details.field`, or `UnsupportedFormat`. */
export function decodeSeal(bytes: Uint8Array): Seal {
  const object = decodeObject(bytes);
  if (object.kind !== "seal") throw malformed("kind", "is that of a batch");
  return object.seal;
}

export type JournalObject =
  | { readonly kind: "batch"; readonly header: BatchHeader }
  | { readonly kind: "seal"; readonly seal: Seal };

/**
 * A whole object, batch or seal, with its SHA-256 checked; frames are not looked into (`decodeFrame` does).
 * Throws `MalformedBatch` with `details.field`, or `UnsupportedFormat`.
 */
export function decodeObject(bytes: Uint8Array): JournalObject {
  if (bytes.length > objectBytesMax) throw malformed("length", `${bytes.length} is above ${objectBytesMax}`);
  const fixed = readFixed(bytes, bytes.length);
  const end = bytes.length - hashBytes;
  if (!bytesEqual(sha256(bytes.subarray(0, end)), bytes.subarray(end))) {
    throw malformed("sha256", "does not match the object");
  }
  return objectOf(bytes, fixed);
}

/** A batch's header or a seal, from a prefix that holds the header whole: for readers by ranges. */
export function decodePrefix(bytes: Uint8Array, expect: { readonly size?: number } = {}): JournalObject {
  return objectOf(bytes, readFixed(bytes, expect.size));
}

function objectOf(bytes: Uint8Array, fixed: FixedHeader): JournalObject {
  if (fixed.kind === "batch") return { kind: "batch", header: readTables(bytes, fixed) };
  return { kind: "seal", seal: readSeal(bytes, fixed) };
}

function readSeal(bytes: Uint8Array, fixed: FixedHeader): Seal {
  if (fixed.textLength !== sealTextBytes) throw malformed("textLength", "is not a seal's");
  const view = viewOf(bytes);
  const text = fixed.fixedLength;
  const reason = sealReasonOf(view.getUint32(text + sealTextAt.reason, true));
  if (reason === undefined) throw malformed("reason", "is unknown");
  requireZeros(bytes, text + sealTextAt.reserved, 4, "reserved");
  if (fixed.configRevision !== 0) throw malformed("configRevision", "of a seal is not 0");
  if (fixed.sourceTimeLast !== fixed.sourceTimeFirst) throw malformed("sourceTimeLast", "of a seal is another time");
  return {
    vpgId: fixed.vpgId,
    term: fixed.term,
    session: fixed.session,
    batch: fixed.batch,
    siteId: ulidFromBytes(bytes, text + sealTextAt.siteId),
    reason,
    followingTerm: view.getUint32(text + sealTextAt.followingTerm, true),
    followingSession: view.getUint32(text + sealTextAt.followingSession, true),
    sealedAt: fixed.sourceTimeFirst,
  };
}

function readTables(bytes: Uint8Array, fixed: FixedHeader): BatchHeader {
  const view = viewOf(bytes);
  const frameTable = fixed.fixedLength + fixed.recordCount * recordBytes;
  const textStart = frameTable + fixed.frameCount * frameEntryBytes;
  requireZeros(bytes, textStart + fixed.textLength, paddedText(fixed.textLength) - fixed.textLength, "textPadding");
  const text = bytes.subarray(textStart, textStart + fixed.textLength);
  const frames = readFrames(bytes, view, frameTable, fixed);
  const { extents, events } = readRecords(view, fixed, text);
  if (needsBarrier(events) !== (fixed.criticalFlags === barrierFlag)) {
    throw malformed("criticalFlags", "are not what the records ask for");
  }
  checkContent(fixed, extents, events, frames);
  return {
    minor: fixed.minor,
    headerLength: fixed.headerLength,
    objectLength: fixed.objectLength,
    vpgId: fixed.vpgId,
    term: fixed.term,
    session: fixed.session,
    batch: fixed.batch,
    previousHash: fixed.previousHash,
    configRevision: fixed.configRevision,
    firstSequence: fixed.firstSequence,
    lastSequence: fixed.lastSequence,
    sourceTimeFirst: fixed.sourceTimeFirst,
    sourceTimeLast: fixed.sourceTimeLast,
    extents,
    events,
    frames,
  };
}

function readFrames(bytes: Uint8Array, view: DataView, table: number, fixed: FixedHeader): FrameInfo[] {
  const frames: FrameInfo[] = [];
  let start = fixed.headerLength;
  let raw = 0;
  for (let index = 0; index < fixed.frameCount; index += 1) {
    const entry = table + index * frameEntryBytes;
    const codec = view.getUint8(entry + frameAt.codec);
    if (codec !== codecs.raw && codec !== codecs.zstd) throw malformed("frames.codec", `${codec} is unknown`, index);
    requireZeros(bytes, entry + frameAt.reserved, 3, "frames.reserved", index);
    const frame: FrameInfo = {
      codec: codec === codecs.raw ? "raw" : "zstd",
      start,
      storedLength: view.getUint32(entry + frameAt.storedLength, true),
      rawLength: view.getUint32(entry + frameAt.rawLength, true),
      crc32: view.getUint32(entry + frameAt.crc32, true),
    };
    frames.push(frame);
    start += frame.storedLength;
    raw += frame.rawLength;
  }
  if (start - fixed.headerLength !== fixed.storedLength) throw malformed("storedLength", "is not the frames' sum");
  if (raw !== fixed.rawLength) throw malformed("rawLength", "is not the frames' sum");
  return frames;
}

function readRecords(
  view: DataView,
  fixed: FixedHeader,
  text: Uint8Array,
): { extents: ExtentColumns; events: BatchEvent[] } {
  const columns = newExtentColumns(fixed.recordCount);
  const { kind, volume, sequenceDelta, offset, length, frame, frameOffset } = columns;
  const events: BatchEvent[] = [];
  let textPlace = 0;
  let count = 0;
  let delta = -1;
  for (let index = 0; index < fixed.recordCount; index += 1) {
    const place = fixed.fixedLength + index * recordBytes;
    const code = view.getUint8(place + recordAt.kind);
    const here = view.getUint32(place + recordAt.sequenceDelta, true);
    if (here <= delta) throw malformed("records.sequence", "does not rise", index);
    delta = here;
    if (code === recordKinds.write || code === recordKinds.zero) {
      kind[count] = code;
      frame[count] = view.getUint8(place + recordAt.frame);
      volume[count] = view.getUint16(place + recordAt.volume, true);
      sequenceDelta[count] = here;
      offset[count] = readU64(view, place + recordAt.offset, "records.offset", index);
      length[count] = view.getUint32(place + recordAt.length, true);
      frameOffset[count] = view.getUint32(place + recordAt.frameOffset, true);
      count += 1;
    } else {
      const event = readEvent(view, place, code, fixed.firstSequence + here, text, textPlace, index);
      textPlace += view.getUint32(place + recordAt.length, true);
      events.push(event);
    }
  }
  if (textPlace !== text.length) throw malformed("textLength", "is not the records' sum");
  return { extents: cutExtentColumns(columns, count), events };
}

const withText: ReadonlySet<number> = new Set([recordKinds.marker, recordKinds.final, recordKinds.barrier]);
const withValue: ReadonlySet<number> = new Set([
  recordKinds.marker,
  recordKinds.resize,
  recordKinds.hold,
  recordKinds.barrier,
]);
const withVolume: ReadonlySet<number> = new Set([recordKinds.syncBegin, recordKinds.syncEnd, recordKinds.resize]);

/** Fields an event has no use for are zero; text follows text without a hole. */
function readEvent(
  view: DataView,
  place: number,
  code: number,
  sequence: number,
  text: Uint8Array,
  textPlace: number,
  index: number,
): BatchEvent {
  const volume = view.getUint16(place + recordAt.volume, true);
  const value = readU64(view, place + recordAt.offset, "records.offset", index);
  const length = view.getUint32(place + recordAt.length, true);
  const frameOffset = view.getUint32(place + recordAt.frameOffset, true);
  const none = (field: string, got: number): void => {
    if (got !== 0) throw malformed(`records.${field}`, "is not 0", index);
  };
  if (code < recordKinds.marker || code > recordKinds.barrier)
    throw malformed("records.kind", `${code} is unknown`, index);
  none("frame", view.getUint8(place + recordAt.frame));
  if (frameOffset !== (length > 0 ? textPlace : 0)) {
    throw malformed("records.frameOffset", "is not where its text starts", index);
  }
  if (textPlace + length > text.length) throw malformed("records.length", "reaches beyond the text", index);
  if (!withText.has(code)) none("length", length);
  if (!withValue.has(code)) none("offset", value);
  if (!withVolume.has(code)) none("volume", volume);
  const own = text.subarray(textPlace, textPlace + length);
  switch (code) {
    case recordKinds.marker:
      return { kind: "marker", sequence, time: value, tag: tagOf(own, index) };
    case recordKinds.syncBegin:
      return { kind: "sync-begin", sequence, volume };
    case recordKinds.syncEnd:
      return { kind: "sync-end", sequence, volume };
    case recordKinds.resize:
      return { kind: "resize", sequence, volume, sizeBytes: value };
    case recordKinds.final:
      if (length !== finalTextBytes) throw malformed("records.length", "is not a final's", index);
      return { kind: "final", sequence, operationId: ulidFromBytes(own), hash: own.slice(16) };
    case recordKinds.close:
      return { kind: "close", sequence };
    case recordKinds.hold:
      return { kind: "hold", sequence, time: value };
    case recordKinds.barrier:
      return { kind: "barrier", sequence, time: value, ...readVector(own, index) };
    default:
      throw malformed("records.kind", `${code} is unknown`, index);
  }
}

/** The text of a barrier; how many components there may be, and in what order, is `checkContent`'s to say. */
function readVector(text: Uint8Array, index: number): { vector: Position[]; tag: string } {
  const view = viewOf(text);
  if (text.length < vectorTextBytes) throw malformed("records.vector", "is cut short", index);
  const tagAt = vectorTextBytes + view.getUint16(0, true) * componentBytes;
  if (tagAt > text.length) throw malformed("records.vector", "reaches beyond its text", index);
  requireZeros(text, 2, 2, "records.vector", index);
  const vector: Position[] = [];
  for (let place = vectorTextBytes; place < tagAt; place += componentBytes) {
    const sequence = readU64(view, place + 4, "records.vector", index);
    vector.push({ session: view.getUint32(place, true), sequence });
  }
  return { vector, tag: tagOf(text.subarray(tagAt), index) };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function tagOf(bytes: Uint8Array, index: number): string {
  if (bytes.length > tagBytesMax) throw malformed("records.tag", `is longer than ${tagBytesMax} bytes`, index);
  try {
    return utf8.decode(bytes);
  } catch {
    throw malformed("records.tag", "is not UTF-8", index);
  }
}
