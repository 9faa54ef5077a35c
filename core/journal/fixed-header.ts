import { crc32 } from "node:zlib";
import { UnsupportedFormat } from "#core/errors.ts";
import type { Seal } from "./batch.ts";
import {
  at,
  barrierFlag,
  crcBytes,
  fixedHeaderBytes,
  hashBytes,
  headerBytesOf,
  headerLengthBytes,
  magic,
  objectKinds,
  versionMajor,
} from "./layout.ts";
import {
  batchNumberMax,
  fixedHeaderBytesMax,
  framesMax,
  headerBytesMax,
  objectBytesMax,
  payloadBytesMax,
  recordsMax,
  safeIntegerMax,
  tagBytesMax,
  textBytesMax,
  u32Max,
} from "./limits.ts";
import { malformed } from "./malformed.ts";
import { ulidFromBytes, ulidToBytes } from "./ulid-bytes.ts";

/** The first 192 bytes of every object, batch or seal: one codec, both ways. */
export interface FixedHeader extends Pick<Seal, "vpgId" | "term" | "session" | "batch"> {
  readonly minor: number;
  readonly fixedLength: number;
  readonly headerLength: number;
  readonly kind: "batch" | "seal";
  readonly criticalFlags: number;
  readonly previousHash: Uint8Array;
  readonly configRevision: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly sourceTimeFirst: number;
  readonly sourceTimeLast: number;
  readonly objectLength: number;
  readonly recordCount: number;
  readonly frameCount: number;
  readonly textLength: number;
  readonly storedLength: number;
  readonly rawLength: number;
}

/** Any other one set means bytes that this reader must not guess at. */
const criticalFlagsKnown = barrierFlag;

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Reads a 64-bit field that the format bounds to 2^53-1. */
export function readU64(view: DataView, place: number, field: string, index?: number): number {
  const high = view.getUint32(place + 4, true);
  if (high > 0x1f_ffff) throw malformed(field, "is above 2^53-1", index);
  return high * 0x1_0000_0000 + view.getUint32(place, true);
}

export function writeU64(view: DataView, place: number, value: number): void {
  view.setUint32(place, value >>> 0, true);
  view.setUint32(place + 4, Math.floor(value / 0x1_0000_0000), true);
}

/**
 * The whole header's length, from the first 20 bytes or more: what a reader by ranges asks for next. Bounded, so that
 * it may be allocated. Throws `UnsupportedFormat` for a later major version and `MalformedBatch` for anything else.
 */
export function headerLength(prefix: Uint8Array): number {
  if (prefix.length < headerLengthBytes) throw malformed("length", `is ${prefix.length}, too short for any object`);
  for (let index = 0; index < magic.length; index += 1) {
    if (prefix[index] !== magic[index]) throw malformed("magic", "is not that of a journal object");
  }
  const view = viewOf(prefix);
  const major = view.getUint16(at.major, true);
  if (major === 0) throw malformed("major", "is 0");
  if (major > versionMajor) {
    throw new UnsupportedFormat(`journal format ${major} is newer than ${versionMajor}: use a newer Farshore`, {
      field: "major",
      major,
    });
  }
  const length = view.getUint32(at.headerLength, true);
  if (length < fixedHeaderBytes + crcBytes || length > headerBytesMax) {
    throw malformed("headerLength", `${length} is out of bounds`);
  }
  return length;
}

/** Checks one scalar of the fixed header; encoder and decoder use the same bounds. */
function within(field: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw malformed(field, `${value} is not within ${least} and ${most}`);
  }
}

/** What holds of every fixed header, whoever made it. */
export function checkFixed(fixed: FixedHeader): void {
  const seal = fixed.kind === "seal";
  within("term", fixed.term, 1, u32Max);
  within("session", fixed.session, 1, u32Max);
  within("batch", fixed.batch, 0, batchNumberMax);
  within("configRevision", fixed.configRevision, 0, safeIntegerMax);
  // Each earlier batch of the session took at least one sequence number, counted from 1.
  const firstLeast = seal ? 0 : fixed.batch + 1;
  const firstMost = seal ? 0 : fixed.batch === 0 ? 1 : safeIntegerMax;
  within("firstSequence", fixed.firstSequence, firstLeast, firstMost);
  within(
    "lastSequence",
    fixed.lastSequence,
    fixed.firstSequence,
    seal ? 0 : Math.min(safeIntegerMax, fixed.firstSequence + u32Max),
  );
  within("sourceTimeFirst", fixed.sourceTimeFirst, 0, safeIntegerMax);
  within("sourceTimeLast", fixed.sourceTimeLast, 0, safeIntegerMax);
  within("recordCount", fixed.recordCount, seal ? 0 : 1, seal ? 0 : recordsMax);
  within("frameCount", fixed.frameCount, 0, seal ? 0 : framesMax);
  within("criticalFlags", fixed.criticalFlags, 0, seal ? 0 : barrierFlag);
  within("textLength", fixed.textLength, 0, fixed.criticalFlags === barrierFlag ? textBytesMax : tagBytesMax);
  within("rawLength", fixed.rawLength, 0, seal ? 0 : payloadBytesMax);
  within("storedLength", fixed.storedLength, 0, fixed.rawLength);
  const chained = fixed.previousHash.some((byte) => byte !== 0);
  if (fixed.previousHash.length !== hashBytes || chained !== (!seal && fixed.batch > 0)) {
    throw malformed("previousHash", chained ? "stands where none may" : "is missing");
  }
  const expected = headerBytesOf(fixed.fixedLength, fixed.recordCount, fixed.frameCount, fixed.textLength);
  if (fixed.headerLength !== expected) throw malformed("headerLength", `is ${fixed.headerLength}, not ${expected}`);
  const whole = fixed.headerLength + fixed.storedLength + hashBytes;
  if (fixed.objectLength !== whole || whole > objectBytesMax) {
    throw malformed("objectLength", `is ${fixed.objectLength}, not ${whole}`);
  }
}

/** Writes the fixed header into the first 192 bytes, which are zero before. The header's CRC32 is the caller's. */
export function writeFixed(bytes: Uint8Array, fixed: FixedHeader): void {
  checkFixed(fixed);
  const view = viewOf(bytes);
  bytes.set(magic, at.magic);
  view.setUint16(at.major, versionMajor, true);
  view.setUint16(at.minor, fixed.minor, true);
  view.setUint16(at.fixedLength, fixedHeaderBytes, true);
  view.setUint8(at.kind, objectKinds[fixed.kind]);
  view.setUint32(at.headerLength, fixed.headerLength, true);
  view.setUint32(at.criticalFlags, fixed.criticalFlags, true);
  view.setUint32(at.term, fixed.term, true);
  bytes.set(ulidToBytes(fixed.vpgId), at.vpgId);
  view.setUint32(at.session, fixed.session, true);
  view.setUint32(at.frameCount, fixed.frameCount, true);
  writeU64(view, at.batch, fixed.batch);
  bytes.set(fixed.previousHash, at.previousHash);
  writeU64(view, at.configRevision, fixed.configRevision);
  writeU64(view, at.firstSequence, fixed.firstSequence);
  writeU64(view, at.lastSequence, fixed.lastSequence);
  writeU64(view, at.sourceTimeFirst, fixed.sourceTimeFirst);
  writeU64(view, at.sourceTimeLast, fixed.sourceTimeLast);
  view.setUint32(at.objectLength, fixed.objectLength, true);
  view.setUint32(at.recordCount, fixed.recordCount, true);
  view.setUint32(at.textLength, fixed.textLength, true);
  view.setUint32(at.storedLength, fixed.storedLength, true);
  view.setUint32(at.rawLength, fixed.rawLength, true);
}

/** Writes the CRC32 that ends the header. */
export function writeHeaderCrc(bytes: Uint8Array, length: number): void {
  viewOf(bytes).setUint32(length - crcBytes, crc32(bytes.subarray(0, length - crcBytes)), true);
}

/**
 * Reads and checks the fixed header from bytes that hold at least the whole header. Refuses by `details.field`;
 * `UnsupportedFormat` for versions, critical flags and cipher suites it does not know. Ignorable flags are ignored.
 */
export function readFixed(bytes: Uint8Array, expectedSize?: number): FixedHeader {
  const length = headerLength(bytes);
  const view = viewOf(bytes);
  if (bytes.length < length) throw malformed("length", `is ${bytes.length}, shorter than the header of ${length}`);
  const critical = view.getUint32(at.criticalFlags, true);
  const cipherSuite = view.getUint8(at.cipherSuite);
  if ((critical & ~criticalFlagsKnown) !== 0) {
    throw new UnsupportedFormat(`journal object has critical flags ${critical} unknown here: use a newer Farshore`, {
      field: "criticalFlags",
      flags: critical,
    });
  }
  if (cipherSuite !== 0) {
    throw new UnsupportedFormat(`cipher suite ${cipherSuite} is unknown here: use a newer Farshore`, {
      field: "cipherSuite",
      cipherSuite,
    });
  }
  if (view.getUint32(length - crcBytes, true) !== crc32(bytes.subarray(0, length - crcBytes))) {
    throw malformed("headerCrc32", "does not match the header");
  }
  const minor = view.getUint16(at.minor, true);
  const fixedLength = view.getUint16(at.fixedLength, true);
  const fixedWrong = minor === 0 ? fixedLength !== fixedHeaderBytes : fixedLength % 8 !== 0;
  if (fixedWrong || fixedLength < fixedHeaderBytes || fixedLength > fixedHeaderBytesMax) {
    throw malformed("fixedLength", `${fixedLength} is not allowed`);
  }
  const kind = view.getUint8(at.kind);
  if (kind !== objectKinds.batch && kind !== objectKinds.seal) throw malformed("kind", `${kind} is unknown`);
  requireZeros(bytes, at.keyId, 16, "keyId");
  requireZeros(bytes, at.reserved, fixedHeaderBytes - at.reserved, "reserved");
  const fixed: FixedHeader = {
    minor,
    fixedLength,
    headerLength: length,
    kind: kind === objectKinds.batch ? "batch" : "seal",
    criticalFlags: critical,
    vpgId: ulidFromBytes(bytes, at.vpgId),
    term: view.getUint32(at.term, true),
    session: view.getUint32(at.session, true),
    batch: readU64(view, at.batch, "batch"),
    previousHash: bytes.slice(at.previousHash, at.previousHash + hashBytes),
    configRevision: readU64(view, at.configRevision, "configRevision"),
    firstSequence: readU64(view, at.firstSequence, "firstSequence"),
    lastSequence: readU64(view, at.lastSequence, "lastSequence"),
    sourceTimeFirst: readU64(view, at.sourceTimeFirst, "sourceTimeFirst"),
    sourceTimeLast: readU64(view, at.sourceTimeLast, "sourceTimeLast"),
    objectLength: view.getUint32(at.objectLength, true),
    recordCount: view.getUint32(at.recordCount, true),
    frameCount: view.getUint32(at.frameCount, true),
    textLength: view.getUint32(at.textLength, true),
    storedLength: view.getUint32(at.storedLength, true),
    rawLength: view.getUint32(at.rawLength, true),
  };
  checkFixed(fixed);
  if (expectedSize !== undefined && expectedSize !== fixed.objectLength) {
    throw malformed("objectLength", `is ${fixed.objectLength}, but the object has ${expectedSize} bytes`);
  }
  return fixed;
}

export function requireZeros(bytes: Uint8Array, start: number, length: number, field: string, index?: number): void {
  for (let place = start; place < start + length; place += 1) {
    if (bytes[place] !== 0) throw malformed(field, "has reserved bits set", index);
  }
}
