import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chunkBytes, chunksPerPage } from "#core/blocks/geometry.ts";
import { ChunkBitmap } from "./chunk-bitmap.ts";
import { blockHashesOf } from "./hash-chunk.ts";
import { blockBytes, blockHashBytes, firstCopyPieceBytes } from "./limits.ts";
import { blockCount, blockDiffers, chunkLength, chunksOfPage, piecesOf } from "./pieces.ts";
import { SyncCounter } from "./progress.ts";

const chunks = 3 * chunksPerPage - 7;
const sizeBytes = chunks * chunkBytes - 512;

describe("chunk bitmap", () => {
  it("equals a set of numbers", () => {
    const step = fc.record({
      add: fc.boolean(),
      chunk: fc.oneof(fc.nat(chunks - 1), fc.constantFrom(0, 31, 32, chunksPerPage - 1, chunksPerPage, chunks - 1)),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.nat(chunks - 1), (steps, from) => {
        const bitmap = new ChunkBitmap(sizeBytes);
        const model = new Set<number>();
        for (const { add, chunk } of steps) {
          if (add) {
            bitmap.add(chunk);
            model.add(chunk);
          } else {
            bitmap.delete(chunk);
            model.delete(chunk);
          }
        }
        const sorted = [...model].sort((left, right) => left - right);
        expect(bitmap.count).toBe(model.size);
        expect(bitmap.next(from)).toBe(sorted.find((chunk) => chunk >= from) ?? -1);
        const pages = [0, 1, 2].map((page) => bitmap.inPage(page).map((chunk) => chunk + page * chunksPerPage));
        expect(pages.flat()).toEqual(sorted);
      }),
    );
  });

  it("takes every chunk that bytes touch, and no more", () => {
    const bitmap = new ChunkBitmap(sizeBytes);
    bitmap.addBytes(chunkBytes - 512, 1024);
    bitmap.addBytes(5 * chunkBytes, chunkBytes);
    bitmap.addBytes(9 * chunkBytes, 0);
    bitmap.addBytes(sizeBytes - 512, 512);
    expect([0, 1, 2].flatMap((page) => bitmap.inPage(page).map((chunk) => chunk + page * chunksPerPage))).toEqual([
      0,
      1,
      5,
      chunks - 1,
    ]);
    bitmap.addAll();
    expect(bitmap.count).toBe(chunks);
  });
});

describe("pieces of a chunk", () => {
  it.each([blockBytes, firstCopyPieceBytes])(
    "cover exactly the parts of %i bytes that differ and tell zeros from bytes",
    (grain) => {
      const part = fc.record({ differs: fc.boolean(), zero: fc.boolean() });
      fc.assert(
        fc.property(fc.array(part, { minLength: 1, maxLength: chunkBytes / grain }), fc.boolean(), (parts, short) => {
          const length = parts.length * grain - (short ? 512 : 0);
          const bytes = new Uint8Array(length);
          for (const [index, { zero }] of parts.entries()) if (!zero) bytes[index * grain] = 1;
          const pieces = piecesOf(bytes, grain, (index) => parts[index]?.differs === true);
          const seen = parts.map((_, index) =>
            pieces.find((piece) => piece.start <= index * grain && index * grain < piece.start + piece.length),
          );
          for (const [index, { differs, zero }] of parts.entries()) {
            expect(seen[index] !== undefined).toBe(differs);
            if (differs) expect(seen[index]?.zero).toBe(zero);
          }
          const end = pieces.at(-1);
          expect((end?.start ?? 0) + (end?.length ?? 0)).toBeLessThanOrEqual(length);
          for (const [index, piece] of pieces.slice(1).entries()) {
            const before = pieces[index];
            const touches = (before?.start ?? 0) + (before?.length ?? 0) === piece.start;
            expect(touches && before?.zero === piece.zero).toBe(false);
          }
        }),
      );
    },
  );

  it("make of one chunk the other, by the hashes of their blocks, and carry what differs and no more", () => {
    const change = fc.record({
      at: fc.nat(chunkBytes / 512 - 1),
      sectors: fc.integer({ min: 1, max: 40 }),
      byte: fc.nat(255),
    });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 20 }),
        fc.constantFrom(chunkBytes, 9 * 4096 + 512),
        (changes, length) => {
          const held = new Uint8Array(length).map((_, at) => at >>> 12);
          const disk = Uint8Array.from(held);
          for (const { at, sectors, byte } of changes) disk.fill(byte, at * 512, (at + sectors) * 512);
          const [wanted, found] = [blockHashesOf(held), blockHashesOf(disk)];
          const pieces = piecesOf(disk, blockBytes, (block) => blockDiffers(found, wanted, block));
          const result = Uint8Array.from(held);
          for (const { start, length: bytes, zero } of pieces) {
            result.set(zero ? new Uint8Array(bytes) : disk.subarray(start, start + bytes), start);
          }
          expect(Buffer.compare(result, disk)).toBe(0);
          let differing = 0;
          for (let at = 0; at < length; at += blockBytes) {
            const block = disk.subarray(at, at + blockBytes);
            if (Buffer.compare(block, held.subarray(at, at + blockBytes)) !== 0) differing += block.length;
          }
          expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(differing);
        },
      ),
    );
  });

  it("counts the short last chunk and page", () => {
    expect(chunkLength(sizeBytes, 0)).toBe(chunkBytes);
    expect(chunkLength(sizeBytes, chunks - 1)).toBe(chunkBytes - 512);
    expect(chunksOfPage(sizeBytes, 0)).toBe(chunksPerPage);
    expect(chunksOfPage(sizeBytes, 2)).toBe(chunksPerPage - 7);
    expect(blockCount(chunkBytes)).toBe(128);
    expect(blockCount(blockBytes + 512)).toBe(2);
    expect(blockHashesOf(new Uint8Array(blockBytes + 512)).length).toBe(2 * blockHashBytes);
  });
});

describe("sync progress", () => {
  it("counts a chunk that comes back again, and estimates from the rate", () => {
    const counter = new SyncCounter(1000);
    expect(counter.progress(20, 1000)).toEqual({
      comparedChunks: 0,
      differingChunks: 0,
      totalChunks: 20,
      shippedBytes: 0,
      etaMs: null,
    });
    for (let chunk = 0; chunk < 16; chunk += 1) counter.settled(chunk % 2 === 0 ? 100 : 0);
    expect(counter.progress(8, 1160)).toEqual({
      comparedChunks: 16,
      differingChunks: 8,
      totalChunks: 24,
      shippedBytes: 800,
      etaMs: 80,
    });
    expect(counter.progress(0, 1160).etaMs).toBe(0);
  });
});
