/** Byte places and codes of the batch format, version 1.1. FORMAT.md is the contract; all integers are little endian. */

/** "FSHJ", then the bytes that show a transfer which meddled with line ends or cut at Ctrl-Z. */
export const magic = Uint8Array.of(0x46, 0x53, 0x48, 0x4a, 0x0d, 0x0a, 0x1a, 0x0a);

export const versionMajor = 1;

/** Set where a batch ends with a hold or a barrier: a reader of 1.0 would take neither for what it is, and must refuse it. */
export const barrierFlag = 1;
/** The minor version that a batch is written as: the lowest whose readers understand it. */
export const minorOf = (criticalFlags: number): number => (criticalFlags === 0 ? 0 : 1);

export const objectKinds = { batch: 1, seal: 2 } as const;

/** Where each field of the fixed header starts. */
export const at = {
  magic: 0,
  major: 8,
  minor: 10,
  fixedLength: 12,
  kind: 14,
  cipherSuite: 15,
  headerLength: 16,
  criticalFlags: 20,
  ignorableFlags: 24,
  term: 28,
  keyId: 32,
  vpgId: 48,
  session: 64,
  frameCount: 68,
  batch: 72,
  previousHash: 80,
  configRevision: 112,
  firstSequence: 120,
  lastSequence: 128,
  sourceTimeFirst: 136,
  sourceTimeLast: 144,
  objectLength: 152,
  recordCount: 156,
  textLength: 160,
  storedLength: 164,
  rawLength: 168,
  reserved: 172,
} as const;

/** Length of the fixed header in version 1.0; a later minor version may append to it. */
export const fixedHeaderBytes = 192;

export const hashBytes = 32;
export const crcBytes = 4;

/** Enough of an object to know how long its header is. */
export const headerLengthBytes = 20;

/** One record: kind u8, frame u8, volume u16, sequence delta u32, offset u64, length u32, place in frame u32. */
export const recordBytes = 24;
export const recordAt = {
  kind: 0,
  frame: 1,
  volume: 2,
  sequenceDelta: 4,
  offset: 8,
  length: 16,
  frameOffset: 20,
} as const;

/** One frame: stored length u32, raw length u32, CRC32 of the stored bytes u32, codec u8, three reserved bytes. */
export const frameEntryBytes = 16;
export const frameAt = { storedLength: 0, rawLength: 4, crc32: 8, codec: 12, reserved: 13 } as const;

export const codecs = { raw: 0, zstd: 1 } as const;

export const recordKinds = {
  write: 1,
  zero: 2,
  marker: 3,
  syncBegin: 4,
  syncEnd: 5,
  resize: 6,
  final: 7,
  close: 8,
  hold: 9,
  barrier: 10,
} as const;

/** Text of a final record: operation id (16 bytes), then a hash. */
export const finalTextBytes = 16 + hashBytes;

/** Text of a barrier: number of components u16, reserved u16, then per component session u32 and sequence u64, then the tag. */
export const vectorTextBytes = 4;
export const componentBytes = 12;

/** Text of a seal: site id (16 bytes), reason u32, following term u32, following session u32, reserved u32. */
export const sealTextBytes = 32;

export const sealTextAt = { siteId: 0, reason: 16, followingTerm: 20, followingSession: 24, reserved: 28 } as const;

/** Text is padded with zeros so that the CRC32 behind it stands at a multiple of four. */
export function paddedText(textLength: number): number {
  return (textLength + 3) & ~3;
}

/** The length that the counts say the header has. */
export function headerBytesOf(
  fixedLength: number,
  recordCount: number,
  frameCount: number,
  textLength: number,
): number {
  return fixedLength + recordCount * recordBytes + frameCount * frameEntryBytes + paddedText(textLength) + crcBytes;
}

/** A whole SEAL object. */
export const sealBytes = headerBytesOf(fixedHeaderBytes, 0, 0, sealTextBytes) + hashBytes;
