import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import { sectorsPerChunk } from "#core/blocks/geometry.ts";
import { viewOf, writeHeaderCrc, writeU64 } from "./fixed-header.ts";
import { sha256 } from "./hash.ts";
import type { LayerExtents, LayerPartPlace, LayerSection, LayerSource, SectionPlace } from "./layer.ts";
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
import { crcBytes, hashBytes, versionMajor } from "./layout.ts";
import { layerPartBytesMax, sectionChunksMax, sectionExtentsMax, sectionsMax } from "./limits.ts";
import { ulidToBytes } from "./ulid-bytes.ts";

/** A section's bytes, made as soon as the section is whole: smaller by half than its columns. */
export type EncodedSection = Omit<SectionPlace, "start"> & { readonly bytes: Uint8Array };

/** `packed`: with room for packs among its sources. */
export function encodeSection(
  { volume, firstChunk, lastChunk, extents, sources }: LayerSection,
  packed = false,
): EncodedSection {
  if (extents.count < 1 || extents.count > sectionExtentsMax) throw new RangeError(`${extents.count} extents`);
  if (lastChunk - firstChunk >= sectionChunksMax)
    throw new RangeError(`a section of chunks ${firstChunk} to ${lastChunk}`);
  const length = sectionBytesOf(extents.count, sources.length, packed);
  const bytes = Buffer.alloc(length);
  const view = viewOf(bytes);
  for (let index = 0; index < extents.count; index += 1) {
    writeExtent(view, index * layerExtentBytes, extents, index, firstChunk * sectorsPerChunk);
  }
  for (const [index, source] of sources.entries()) {
    const at = extents.count * layerExtentBytes + index * (packed ? packedSourceBytes : layerSourceBytes);
    writeSource(view, at, source);
    if (source.pack === undefined) continue;
    if (!packed) throw new RangeError("a section without room for packs names one");
    bytes.set(ulidToBytes(source.pack), at + layerSourceAt.pack);
  }
  return {
    ...{ volume, firstChunk, lastChunk, length, bytes, packed },
    extentCount: extents.count,
    sourceCount: sources.length,
    crc32: crc32(bytes),
  };
}

function writeExtent(view: DataView, place: number, extents: LayerExtents, index: number, base: number): void {
  view.setUint32(place + layerExtentAt.sector, (extents.sector[index] ?? 0) - base, true);
  view.setUint32(place + layerExtentAt.sectors, extents.sectors[index] ?? 0, true);
  view.setUint32(place + layerExtentAt.source, extents.source[index] ?? 0, true);
  view.setUint32(place + layerExtentAt.sequenceDelta, extents.sequenceDelta[index] ?? 0, true);
  view.setUint32(place + layerExtentAt.frameOffset, extents.frameOffset[index] ?? 0, true);
  view.setUint8(place + layerExtentAt.frame, extents.frame[index] ?? 0);
  view.setUint8(place + layerExtentAt.kind, extents.kind[index] ?? 0);
}

function writeSource(view: DataView, place: number, source: LayerSource): void {
  view.setUint32(place + layerSourceAt.term, source.term, true);
  view.setUint32(place + layerSourceAt.session, source.session, true);
  writeU64(view, place + layerSourceAt.batch, source.batch);
  writeU64(view, place + layerSourceAt.firstSequence, source.firstSequence);
  view.setUint32(place + layerSourceAt.sequences, source.lastSequence - source.firstSequence, true);
  view.setUint32(place + layerSourceAt.size, source.size, true);
  view.setUint32(place + layerSourceAt.headerLength, source.headerLength, true);
}

/** A part's bytes; the same sections give the same bytes. Sections are by volume and first chunk. */
export function encodeLayerPart(place: LayerPartPlace, sections: readonly EncodedSection[]): Uint8Array {
  const headerLength = layerFixedBytes + sections.length * sectionEntryBytes + crcBytes;
  const objectLength = sections.reduce((sum, { length }) => sum + length, headerLength + hashBytes);
  if (sections.length < 1 || sections.length > sectionsMax || objectLength > layerPartBytesMax) {
    throw new RangeError(`a part of ${sections.length} sections and ${objectLength} bytes`);
  }
  const packed = sections[0]?.packed === true;
  if (sections.some((section) => section.packed !== packed)) throw new RangeError("a part of two kinds of sections");
  const object = Buffer.alloc(objectLength);
  const view = viewOf(object);
  object.set(layerMagic, layerAt.magic);
  view.setUint16(layerAt.major, versionMajor, true);
  view.setUint16(layerAt.minor, packed ? 1 : 0, true);
  view.setUint32(layerAt.criticalFlags, packed ? packsFlag : 0, true);
  view.setUint16(layerAt.fixedLength, layerFixedBytes, true);
  view.setUint32(layerAt.headerLength, headerLength, true);
  view.setUint32(layerAt.part, place.part, true);
  object.set(ulidToBytes(place.vpgId), layerAt.vpgId);
  object.set(ulidToBytes(place.layerId), layerAt.layerId);
  view.setUint32(layerAt.objectLength, objectLength, true);
  view.setUint32(layerAt.sectionCount, sections.length, true);
  const extentCount = sections.reduce((sum, section) => sum + section.extentCount, 0);
  view.setUint32(layerAt.extentCount, extentCount, true);
  let start = headerLength;
  for (const [index, section] of sections.entries()) {
    const entry = layerFixedBytes + index * sectionEntryBytes;
    view.setUint16(entry + sectionAt.volume, section.volume, true);
    view.setUint32(entry + sectionAt.extentCount, section.extentCount, true);
    view.setUint32(entry + sectionAt.sourceCount, section.sourceCount, true);
    view.setUint32(entry + sectionAt.crc32, section.crc32, true);
    writeU64(view, entry + sectionAt.firstChunk, section.firstChunk);
    writeU64(view, entry + sectionAt.lastChunk, section.lastChunk);
    writeU64(view, entry + sectionAt.start, start);
    object.set(section.bytes, start);
    start += section.length;
  }
  writeHeaderCrc(object, headerLength);
  object.set(sha256(object.subarray(0, objectLength - hashBytes)), objectLength - hashBytes);
  return object;
}
