/** The bounds of the journal's format and of those who read it (FORMAT.md repeats the format's own). */

/** Sequence numbers, sizes and times are JavaScript numbers: exact up to here. */
export const safeIntegerMax = Number.MAX_SAFE_INTEGER;

/** Terms, session ordinals: 32 bits. */
export const u32Max = 0xffff_ffff;

/** Batch numbers have twelve digits in their keys. */
export const batchNumberMax = 999_999_999_999;

/** Volume numbers: 16 bits, never reused within a VPG. */
export const volumeNumberMax = 0xffff;

/** Raw bytes of one frame, the unit that is compressed and read alone: larger gains nothing in ratio, smaller halves zstd's speed. */
export const frameBytesMax = 256 * 1024;

/** Raw bytes of one write record: it lies in exactly one frame. Whoever taps writes splits larger ones. */
export const writeBytesMax = frameBytesMax;

/** Bytes of one zero record: a page. Longer zeroes are split by the writer. */
export const zeroBytesMax = 1024 * 1024 * 1024;

/** Raw payload of one batch, and so its stored payload, since a frame that does not shrink is stored raw. */
export const payloadBytesMax = 4 * 1024 * 1024;

/** Frames of a batch: 17 full ones hold the payload; twice that and more when records pack badly. */
export const framesMax = 64;

/** Records of a batch: 8192 sectors fill the payload, the rest is for zero records and events. */
export const recordsMax = 12_288;

/** UTF-8 bytes of a marker's tag. */
export const tagBytesMax = 128;

/** Components of a barrier's vector, one a source gateway: its text fits a header, and a barrier of more could hardly be held in time. */
export const componentsMax = 64;

/** Bytes of the text area: only the last record of a batch may have text, so the longest is a barrier's vector with its tag. */
export const textBytesMax = 4 + componentsMax * 12 + tagBytesMax;

/** Bytes of the fixed header that a later minor version may have; today's are 192. */
export const fixedHeaderBytesMax = 1024;

/** The whole header: fixed part, records, frames, text, CRC32. */
export const headerBytesMax = fixedHeaderBytesMax + recordsMax * 24 + framesMax * 16 + textBytesMax + 4;

/**
 * A whole batch object: header, payload, SHA-256. 4,492,200 bytes, which base64 makes 5,989,600: under the 6 MiB
 * (6,291,456 bytes) that a function's request may have, with 300 KB left for the envelope around the body.
 */
export const objectBytesMax = headerBytesMax + payloadBytesMax + 32;

/** Bytes of a session object: a volume is about 60 bytes of JSON, and a VPG may have up to `volumesPerSessionMax`. */
export const sessionObjectBytesMax = 256 * 1024;

/** Volumes one session may open. */
export const volumesPerSessionMax = 1024;

/** First read of a batch when its header's length is not known: holds most headers whole in one request. */
export const headerReadBytes = 64 * 1024;

/** Batches an offline reader looks at in parallel: hides the store's latency without flooding it. */
export const readConcurrency = 16;

/** Covered-sector bitmaps are not kept for records longer than this when coalescing: exactness never needs them. */
export const coalesceBytesMax = 8 * 1024 * 1024;

/** Whole batches held at a time while a journal is verified: 18 MiB at most. */
export const verifyConcurrency = 4;

/** Problems a verification reports: beyond these, more would not change what to do. */
export const problemsMax = 1000;

/** Extents of one section of a layer: 96 KiB, and 160 KiB more when each is of another batch. */
export const sectionExtentsMax = 4096;

/** Sections of one part: its directory, 640 KiB at most, is read whole and kept. */
export const sectionsMax = 16_384;

/** A part's header: fixed part, directory, CRC32. */
export const layerHeaderBytesMax = fixedHeaderBytesMax + sectionsMax * 40 + 4;

/** Bytes of a part: more than its builder ever makes, and what one may hold in memory. */
export const layerPartBytesMax = 64 * 1024 * 1024;

/** Chunks that one section may stand for: its sectors are counted in 32 bits from its first chunk. */
export const sectionChunksMax = 2 ** 21;

/** Parts of one layer: six digits in their keys. */
export const layerPartsMax = 999_999;

/** Bytes of a digest: some 350 a pack and 20 a kept checkpoint, so that it holds 40,000 packs. */
export const digestBytesMax = 16 * 1024 * 1024;
/** Bytes of a manifest: some 100 a part of a layer and 40 a session. */
export const manifestBytesMax = 4 * 1024 * 1024;
