/** Byte places of a layer's parts, version 1.1. FORMAT.md is the contract; all integers are little endian. */

/** "FSHL", then the bytes that show a transfer which meddled with line ends or cut at Ctrl-Z. */
export const layerMagic = Uint8Array.of(0x46, 0x53, 0x48, 0x4c, 0x0d, 0x0a, 0x1a, 0x0a);

/** Where each field of the fixed header starts. */
export const layerAt = {
  magic: 0,
  major: 8,
  minor: 10,
  fixedLength: 12,
  reserved: 14,
  cipherSuite: 15,
  headerLength: 16,
  criticalFlags: 20,
  ignorableFlags: 24,
  part: 28,
  keyId: 32,
  vpgId: 48,
  layerId: 64,
  objectLength: 80,
  sectionCount: 84,
  extentCount: 88,
  reservedEnd: 92,
} as const;

/** Length of the fixed header in version 1.0. */
export const layerFixedBytes = 96;

/** One section of the directory. */
export const sectionEntryBytes = 40;
export const sectionAt = {
  volume: 0,
  reserved: 2,
  extentCount: 4,
  sourceCount: 8,
  crc32: 12,
  firstChunk: 16,
  lastChunk: 24,
  start: 32,
} as const;

/** One extent of a section. */
export const layerExtentBytes = 24;
export const layerExtentAt = {
  sector: 0,
  sectors: 4,
  source: 8,
  sequenceDelta: 12,
  frameOffset: 16,
  frame: 20,
  kind: 21,
  reserved: 22,
} as const;

/** One source of a section. */
export const layerSourceBytes = 40;
export const layerSourceAt = {
  term: 0,
  session: 4,
  batch: 8,
  firstSequence: 16,
  sequences: 24,
  size: 28,
  headerLength: 32,
  reserved: 36,
  /** Only in a part with `packsFlag`: the pack's id, zeros for a batch. */
  pack: 40,
} as const;

/** One source of a section whose part has `packsFlag`. */
export const packedSourceBytes = 56;

/** A part's critical flag: sources have 56 bytes and may be packs. */
export const packsFlag = 1;

/** A section's bytes by its counts. */
export const sectionBytesOf = (extentCount: number, sourceCount: number, packed: boolean): number =>
  extentCount * layerExtentBytes + sourceCount * (packed ? packedSourceBytes : layerSourceBytes);
