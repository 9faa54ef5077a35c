import { crc32 } from "node:zlib";
import { sectorsPerChunk } from "#core/blocks/geometry.ts";
import { UnsupportedFormat } from "#core/errors.ts";
import { extentKinds } from "./batch.ts";
import { readU64, requireZeros, viewOf } from "./fixed-header.ts";
import { bytesEqual, sha256 } from "./hash.ts";
import {
  type LayerExtents,
  type LayerHeader,
  type LayerSection,
  type LayerSource,
  newLayerExtents,
  type SectionPlace,
} from "./layer.ts";
import {
  layerAt,
  layerExtentAt,
  layerExtentBytes,
  layerFixedBytes,
  layerMagic,
  layerSourceAt,
  layerSourceBytes,
  packedSourceBytes,
  packsFlag,
  sectionAt,
  sectionBytesOf,
  sectionEntryBytes,
} from "./layer-layout.ts";
import { crcBytes, fixedHeaderBytes, hashBytes, versionMajor } from "./layout.ts";
import {
  batchNumberMax,
  fixedHeaderBytesMax,
  frameBytesMax,
  framesMax,
  headerBytesMax,
  layerHeaderBytesMax,
  layerPartBytesMax,
  layerPartsMax,
  objectBytesMax,
  safeIntegerMax,
  sectionChunksMax,
  sectionExtentsMax,
  sectionsMax,
} from "./limits.ts";
import { malformed } from "./malformed.ts";
import { ulidFromBytes } from "./ulid-bytes.ts";

/** True for bytes that begin as a layer's part does. */
export function isLayerPart(bytes: Uint8Array): boolean {
  return layerMagic.every((byte, index) => bytes[index] === byte);
}

/**
 * The header of a part from a prefix that holds it whole: everything in it is within bounds, in order, and without holes.
 * Throws `MalformedBatch` with `details.field`, or `UnsupportedFormat`.
 */
export function decodeLayerHeader(bytes: Uint8Array, expect: { readonly size?: number } = {}): LayerHeader {
  if (bytes.length < layerFixedBytes + crcBytes) throw malformed("length", `is ${bytes.length}, too short for a layer`);
  if (!isLayerPart(bytes)) throw malformed("magic", "is not that of a layer");
  const view = viewOf(bytes);
  checkVersion(view);
  const headerLength = view.getUint32(layerAt.headerLength, true);
  const sectionCount = view.getUint32(layerAt.sectionCount, true);
  const fixedLength = view.getUint16(layerAt.fixedLength, true);
  const minor = view.getUint16(layerAt.minor, true);
  if (minor === 0 ? fixedLength !== layerFixedBytes : fixedLength % 8 !== 0 || fixedLength < layerFixedBytes) {
    throw malformed("fixedLength", `${fixedLength} is not allowed`);
  }
  if (fixedLength > fixedHeaderBytesMax) throw malformed("fixedLength", `${fixedLength} is not allowed`);
  if (sectionCount < 1 || sectionCount > sectionsMax)
    throw malformed("sectionCount", `${sectionCount} is out of bounds`);
  const expected = fixedLength + sectionCount * sectionEntryBytes + crcBytes;
  if (headerLength !== expected || headerLength > layerHeaderBytesMax) {
    throw malformed("headerLength", `is ${headerLength}, not ${expected}`);
  }
  if (bytes.length < headerLength) throw malformed("length", `is ${bytes.length}, shorter than the header`);
  if (view.getUint32(headerLength - crcBytes, true) !== crc32(bytes.subarray(0, headerLength - crcBytes))) {
    throw malformed("headerCrc32", "does not match the header");
  }
  requireZeros(bytes, layerAt.reserved, 1, "reserved");
  requireZeros(bytes, layerAt.keyId, 16, "keyId");
  requireZeros(bytes, layerAt.reservedEnd, layerFixedBytes - layerAt.reservedEnd, "reserved");
  const part = view.getUint32(layerAt.part, true);
  if (part > layerPartsMax) throw malformed("part", `${part} is out of bounds`);
  const objectLength = view.getUint32(layerAt.objectLength, true);
  if (objectLength > layerPartBytesMax || (expect.size ?? objectLength) !== objectLength) {
    throw malformed("objectLength", `is ${objectLength}, but the object has ${expect.size ?? "fewer"} bytes`);
  }
  const sections = readDirectory(bytes, view, fixedLength, sectionCount, headerLength);
  const end = sections.reduce((sum, { length }) => sum + length, headerLength + hashBytes);
  if (end !== objectLength) throw malformed("objectLength", `is ${objectLength}, not ${end}`);
  const extentCount = sections.reduce((sum, section) => sum + section.extentCount, 0);
  if (view.getUint32(layerAt.extentCount, true) !== extentCount) throw malformed("extentCount", "is not the sections'");
  return {
    ...{ minor, headerLength, objectLength, part, sections },
    vpgId: ulidFromBytes(bytes, layerAt.vpgId),
    layerId: ulidFromBytes(bytes, layerAt.layerId),
  };
}

function checkVersion(view: DataView): void {
  const major = view.getUint16(layerAt.major, true);
  if (major === 0) throw malformed("major", "is 0");
  const flags = view.getUint32(layerAt.criticalFlags, true);
  const cipherSuite = view.getUint8(layerAt.cipherSuite);
  const unknown =
    major > versionMajor
      ? "major"
      : (flags & ~packsFlag) !== 0
        ? "criticalFlags"
        : cipherSuite !== 0
          ? "cipherSuite"
          : undefined;
  if (unknown === undefined) return;
  throw new UnsupportedFormat(`a layer's ${unknown} is unknown here: use a newer Farshore`, { field: unknown });
}

function readDirectory(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  count: number,
  headerLength: number,
): SectionPlace[] {
  const sections: SectionPlace[] = [];
  const packed = (view.getUint32(layerAt.criticalFlags, true) & packsFlag) !== 0;
  let start = headerLength;
  for (let index = 0; index < count; index += 1) {
    const entry = at + index * sectionEntryBytes;
    requireZeros(bytes, entry + sectionAt.reserved, 2, "sections.reserved", index);
    const extentCount = view.getUint32(entry + sectionAt.extentCount, true);
    const sourceCount = view.getUint32(entry + sectionAt.sourceCount, true);
    const section: SectionPlace = {
      ...{ extentCount, sourceCount, packed, length: sectionBytesOf(extentCount, sourceCount, packed) },
      volume: view.getUint16(entry + sectionAt.volume, true),
      firstChunk: readU64(view, entry + sectionAt.firstChunk, "sections.firstChunk", index),
      lastChunk: readU64(view, entry + sectionAt.lastChunk, "sections.lastChunk", index),
      start: readU64(view, entry + sectionAt.start, "sections.start", index),
      crc32: view.getUint32(entry + sectionAt.crc32, true),
    };
    checkSection(section, sections.at(-1), start, index);
    sections.push(section);
    start += section.length;
  }
  return sections;
}

function checkSection(section: SectionPlace, before: SectionPlace | undefined, start: number, index: number): void {
  const { extentCount, sourceCount, firstChunk, lastChunk, volume } = section;
  if (extentCount < 1 || extentCount > sectionExtentsMax)
    throw malformed("sections.extentCount", "is out of bounds", index);
  if (sourceCount < 1 || sourceCount > extentCount) throw malformed("sections.sourceCount", "is out of bounds", index);
  if (lastChunk < firstChunk || lastChunk - firstChunk >= sectionChunksMax) {
    throw malformed("sections.lastChunk", "is out of bounds", index);
  }
  if (section.start !== start) throw malformed("sections.start", "leaves a hole or overlaps", index);
  const rises =
    before === undefined || volume > before.volume || (volume === before.volume && firstChunk >= before.firstChunk);
  if (!rises) throw malformed("sections.firstChunk", "does not rise", index);
}

/** A section from its bytes, checked whole. Throws `MalformedBatch` with `details.field`. */
export function decodeSection(place: SectionPlace, bytes: Uint8Array): LayerSection {
  if (bytes.length !== place.length || crc32(bytes) !== place.crc32)
    throw malformed("sections.crc32", "does not match");
  const { volume, firstChunk, lastChunk, extentCount, sourceCount, packed } = place;
  const view = viewOf(bytes);
  const sources = Array.from({ length: sourceCount }, (_, index) => {
    const at = extentCount * layerExtentBytes + index * (packed ? packedSourceBytes : layerSourceBytes);
    const source = readSource(view, at, index);
    const pack = packed ? ulidFromBytes(bytes, at + layerSourceAt.pack) : noPack;
    return pack === noPack ? source : { ...source, pack };
  });
  const extents = newLayerExtents(extentCount);
  const base = firstChunk * sectorsPerChunk;
  const sectorsMost = (lastChunk - firstChunk + 1) * sectorsPerChunk;
  for (let index = 0; index < extentCount; index += 1) {
    const at = index * layerExtentBytes;
    const sector = view.getUint32(at + layerExtentAt.sector, true);
    const sectors = view.getUint32(at + layerExtentAt.sectors, true);
    if (sectors < 1 || sector + sectors > sectorsMost)
      throw malformed("extents.sectors", "is not in its section", index);
    extents.sector[index] = base + sector;
    extents.sectors[index] = sectors;
    extents.source[index] = view.getUint32(at + layerExtentAt.source, true);
    extents.sequenceDelta[index] = view.getUint32(at + layerExtentAt.sequenceDelta, true);
    extents.frameOffset[index] = view.getUint32(at + layerExtentAt.frameOffset, true);
    extents.frame[index] = view.getUint8(at + layerExtentAt.frame);
    extents.kind[index] = view.getUint8(at + layerExtentAt.kind);
    if (view.getUint16(at + layerExtentAt.reserved, true) !== 0) throw malformed("extents.reserved", "is not 0", index);
  }
  checkOrder(extents, sources);
  checkFrames(extents);
  return { volume, firstChunk, lastChunk, extents, sources };
}

const noPack = ulidFromBytes(new Uint8Array(16));

function readSource(view: DataView, at: number, index: number): LayerSource {
  const firstSequence = readU64(view, at + layerSourceAt.firstSequence, "sources.firstSequence", index);
  const source: LayerSource = {
    term: view.getUint32(at + layerSourceAt.term, true),
    session: view.getUint32(at + layerSourceAt.session, true),
    batch: readU64(view, at + layerSourceAt.batch, "sources.batch", index),
    firstSequence,
    lastSequence: firstSequence + view.getUint32(at + layerSourceAt.sequences, true),
    size: view.getUint32(at + layerSourceAt.size, true),
    headerLength: view.getUint32(at + layerSourceAt.headerLength, true),
  };
  const { term, session, batch, lastSequence, size, headerLength } = source;
  if (term < 1 || session < 1 || batch > batchNumberMax) throw malformed("sources.batch", "is no batch's place", index);
  if (firstSequence <= batch || lastSequence > safeIntegerMax)
    throw malformed("sources.firstSequence", "is out of bounds", index);
  if (
    headerLength < fixedHeaderBytes ||
    headerLength > headerBytesMax ||
    size <= headerLength ||
    size > objectBytesMax
  ) {
    throw malformed("sources.size", "is out of bounds", index);
  }
  if (view.getUint32(at + layerSourceAt.reserved, true) !== 0) throw malformed("sources.reserved", "is not 0", index);
  return source;
}

/** Positions rise strictly, and no source is without an extent. */
function checkOrder({ count, source, sequenceDelta }: LayerExtents, sources: readonly LayerSource[]): void {
  let before = -1;
  for (let index = 0; index < count; index += 1) {
    const number = source[index] ?? 0;
    const delta = sequenceDelta[index] ?? 0;
    const known = sources[number];
    if (known === undefined || number > before + 1 || number < before)
      throw malformed("extents.source", "is not in order", index);
    if (delta > known.lastSequence - known.firstSequence)
      throw malformed("extents.sequenceDelta", "is not its batch's", index);
    if (number === before && delta <= (sequenceDelta[index - 1] ?? 0))
      throw malformed("extents.sequenceDelta", "does not rise", index);
    if (number > before && number > 0 && !isBehind(known, sources[number - 1]))
      throw malformed("sources", "do not rise", number);
    before = number;
  }
  if (before !== sources.length - 1) throw malformed("sources", "are not all used");
}

function isBehind(source: LayerSource, before: LayerSource | undefined): boolean {
  if (before === undefined || source.session > before.session) return true;
  return source.session === before.session && source.batch > before.batch && source.firstSequence > before.lastSequence;
}

function checkFrames({ count, kind, frame, frameOffset, sectors }: LayerExtents): void {
  for (let index = 0; index < count; index += 1) {
    const [of, at] = [frame[index] ?? 0, frameOffset[index] ?? 0];
    if (kind[index] === extentKinds.zero) {
      if (of !== 0 || at !== 0) throw malformed("extents.frame", "of a zero is not 0", index);
      continue;
    }
    if (kind[index] !== extentKinds.write) throw malformed("extents.kind", `${kind[index]} is unknown`, index);
    if (of >= framesMax || at + (sectors[index] ?? 0) * 512 > frameBytesMax) {
      throw malformed("extents.frameOffset", "is not in a frame", index);
    }
  }
}

/** A whole part, its SHA-256 and every section checked. Throws like `decodeLayerHeader`. */
export function decodeLayerPart(bytes: Uint8Array): {
  readonly header: LayerHeader;
  readonly sections: readonly LayerSection[];
} {
  const header = decodeLayerHeader(bytes, { size: bytes.length });
  const end = bytes.length - hashBytes;
  if (!bytesEqual(sha256(bytes.subarray(0, end)), bytes.subarray(end)))
    throw malformed("sha256", "does not match the object");
  const sections = header.sections.map((place) =>
    decodeSection(place, bytes.subarray(place.start, place.start + place.length)),
  );
  return { header, sections };
}
