import { crc32 } from "node:zlib";
import { Corrupt, type MalformedBatch } from "#core/errors.ts";
import type { BatchHeader, CompressedFrame, FrameInfo } from "./batch.ts";
import { frameBytesMax } from "./limits.ts";
import { malformed } from "./malformed.ts";
import { compressBound, type ZstdCoder, zstdCompressor, zstdDecompressor } from "./zstd.ts";

/** Node takes level -1 for "unset" and compresses at 3; -5 is real, and the fastest worth its size. */
export type FrameLevel = "zstd1" | "zstd-5" | "raw";

/** One of each a thread; their contexts are made at the first frame. */
const compressors: Readonly<Record<Exclude<FrameLevel, "raw">, ZstdCoder>> = {
  zstd1: zstdCompressor(1),
  "zstd-5": zstdCompressor(-5),
};
const decompressor = zstdDecompressor();

/** Memory that any frame can be decoded into. */
export const decodedFrameRoom = frameBytesMax + 1;

/** Memory that any frame can be compressed into. */
export const compressedFrameRoom = compressBound(frameBytesMax);

/**
 * Compresses one frame of 1 to 256 KiB into the start of `room`, which has `compressedFrameRoom` bytes; one that doesn't shrink is stored
 * raw, and `raw` itself is given back. Deterministic for a zstd version.
 */
export function compressFrame(
  raw: Uint8Array,
  level: FrameLevel,
  room = new Uint8Array(compressedFrameRoom),
): CompressedFrame {
  if (raw.length === 0 || raw.length > frameBytesMax) {
    throw new RangeError(`a frame has 1 to ${frameBytesMax} bytes, not ${raw.length}`);
  }
  if (level !== "raw") {
    const length = compressors[level].code(raw, room);
    if (length === undefined) throw new TypeError("zstd did not compress");
    const bytes = room.subarray(0, length);
    if (length < raw.length) return { codec: "zstd", bytes, crc32: crc32(bytes), rawLength: raw.length };
  }
  return { codec: "raw", bytes: raw, crc32: crc32(raw), rawLength: raw.length };
}

/** Whose bytes are wrong: what a caller sends is `MalformedBatch`, what was stored whole and now fails is `Corrupt`. */
export type FrameOrigin = "received" | "stored";

/**
 * The raw bytes of frame `index`, checked: CRC32 of the stored bytes, one whole zstd frame that declares exactly the raw
 * length (so a bomb is refused before any output is allocated), nothing before or behind it. They alias `stored` when the frame is raw, else `room`, which has at least a byte more than the frame.
 */
export function decodeFrame(
  header: Pick<BatchHeader, "frames">,
  index: number,
  stored: Uint8Array,
  origin: FrameOrigin = "stored",
  room?: Uint8Array,
): Uint8Array {
  const info = header.frames[index];
  if (info === undefined) throw new RangeError(`no frame ${index}`);
  if (stored.length !== info.storedLength) throw bad(origin, "frames.storedLength", "is not what was read", index);
  if (crc32(stored) !== info.crc32) throw bad(origin, "frames.crc32", "does not match the stored bytes", index);
  if (info.codec === "raw") return stored;
  return decompress(info, stored, index, origin, room ?? Buffer.allocUnsafeSlow(info.rawLength + 1));
}

function decompress(
  info: FrameInfo,
  stored: Uint8Array,
  index: number,
  origin: FrameOrigin,
  room: Uint8Array,
): Uint8Array {
  if (!isSingleZstdFrame(stored, info.rawLength)) {
    throw bad(origin, "frames.zstd", "is not one single-segment zstd frame of the raw length", index);
  }
  const length = decompressor.code(stored, room.subarray(0, info.rawLength + 1));
  if (length === undefined) throw bad(origin, "frames.zstd", "does not decompress", index);
  if (length !== info.rawLength) throw bad(origin, "frames.rawLength", "is not the decompressed length", index);
  return room.subarray(0, length);
}

/**
 * Walks the frame and block headers (RFC 8878, 3.1.1): single segment, no dictionary, no checksum, content size equal
 * to `rawLength`, and the last block ends exactly at the end.
 */
function isSingleZstdFrame(bytes: Uint8Array, rawLength: number): boolean {
  if (bytes.length < 9) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== 0xfd2fb528) return false;
  const descriptor = view.getUint8(4);
  // Bits 7-6 content size's width, 5 single segment, 4 unused, 3 reserved, 2 checksum, 1-0 dictionary id.
  if ((descriptor & 0b0011_1111) !== 0b0010_0000) return false;
  const width = 1 << (descriptor >> 6);
  if (width === 8) return false;
  const size = width === 1 ? view.getUint8(5) : width === 2 ? view.getUint16(5, true) + 256 : view.getUint32(5, true);
  if (size !== rawLength) return false;
  let place = 5 + width;
  for (;;) {
    if (place + 3 > bytes.length) return false;
    const block = view.getUint16(place, true) | (view.getUint8(place + 2) << 16);
    const type = (block >> 1) & 3;
    // A run-length block stores one byte whatever its size; type 3 is reserved.
    place += 3 + (type === 1 ? 1 : block >> 3);
    if (type === 3 || place > bytes.length) return false;
    if ((block & 1) === 1) return place === bytes.length;
  }
}

function bad(origin: FrameOrigin, field: string, message: string, index: number): Corrupt | MalformedBatch {
  if (origin === "received") return malformed(field, message, index);
  return new Corrupt(`stored frame ${index}: ${field} ${message}`, { field, index });
}
