import { randomFillSync } from "node:crypto";
import { ZstdCompress, ZstdDecompress, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
import { patterned } from "../../test/kit/batches.ts";
import { frameBytesMax } from "./limits.ts";
import { compressBound, zstdCompressor, zstdDecompressor } from "./zstd.ts";

const random = (length: number): Buffer => randomFillSync(Buffer.alloc(length));
const inputs: Readonly<Record<string, Uint8Array>> = {
  "one byte": Uint8Array.of(7),
  pattern: patterned(70_001, 3),
  zeros: new Uint8Array(frameBytesMax),
  random: random(frameBytesMax),
  "half random": Buffer.concat([random(100_000), new Uint8Array(100_000)]),
};

afterEach(() => {
  vi.restoreAllMocks();
  for (const { prototype } of [ZstdCompress, ZstdDecompress]) Reflect.deleteProperty(prototype, "_processChunk");
});

describe.each(["kept", "one-shot"])("zstd coders, %s", (way) => {
  const coders = () => {
    if (way === "one-shot") {
      for (const { prototype } of [ZstdCompress, ZstdDecompress]) Reflect.set(prototype, "_processChunk", undefined);
    }
    return { compress: zstdCompressor(1), decompress: zstdDecompressor() };
  };

  it("code frame after frame with one context as Node does with many", () => {
    const { compress, decompress } = coders();
    for (let round = 0; round < 3; round += 1) {
      for (const [name, raw] of Object.entries(inputs)) {
        const stored = new Uint8Array(compressBound(raw.length));
        const length = compress.code(raw, stored);
        const frame = stored.slice(0, length);
        expect(zstdDecompressSync(frame).equals(raw), name).toBe(true);
        const back = Buffer.alloc(raw.length + 1, 0xee);
        expect(decompress.code(frame, back), name).toBe(raw.length);
        expect(back.subarray(0, raw.length).equals(raw), name).toBe(true);
      }
    }
  });

  it("refuse what is wrong, and are as good as new afterwards", () => {
    const { decompress } = coders();
    const raw = patterned(50_000, 9);
    const good = zstdCompressSync(raw);
    const room = new Uint8Array(raw.length + 1);
    const bad: readonly Uint8Array[] = [
      random(100),
      good.subarray(0, good.length - 1),
      good.map((byte, at) => (at === good.length >> 1 ? byte ^ 0xff : byte)),
      Uint8Array.of(),
    ];
    for (const input of bad) {
      const length = decompress.code(input, room);
      if (length !== undefined) expect(Buffer.compare(room.subarray(0, length), raw)).not.toBe(0);
      expect(decompress.code(good, room)).toBe(raw.length);
      expect(Buffer.compare(room.subarray(0, raw.length), raw)).toBe(0);
    }
    expect(decompress.code(good, new Uint8Array(1000))).toBeUndefined();
    expect(decompress.code(good, room)).toBe(raw.length);
  });
});

it("no output buffer is made for a frame, which is what the undocumented way is for", () => {
  const decompress = zstdDecompressor();
  const compress = zstdCompressor(1);
  const raw = patterned(frameBytesMax, 5);
  const stored = new Uint8Array(compressBound(raw.length));
  const back = new Uint8Array(raw.length + 1);
  const frame = stored.subarray(0, compress.code(raw, stored));
  decompress.code(frame, back);
  const allocate = vi.spyOn(Buffer, "allocUnsafe");
  compress.code(raw, stored);
  decompress.code(frame, back);
  expect(allocate).not.toHaveBeenCalled();
});
