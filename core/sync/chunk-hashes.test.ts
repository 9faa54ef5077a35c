import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { fileTrouble } from "#adapters/embedded/file-errors.ts";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { chunkBytes, chunksPerPage, pageBytes } from "#core/blocks/geometry.ts";
import { NotFound, Transient } from "#core/errors.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import type { Objects } from "#core/ports.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { patterned, vpgId } from "../../test/kit/batches.ts";
import { JournalWriter } from "../../test/kit/journal.ts";
import { randomJournal } from "../../test/kit/random-journal.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { chunkHashes } from "./chunk-hashes.ts";
import { blockBytes, blockHashBytes } from "./limits.ts";

/** Of each block, cut to `bytes`. */
function naive(image: Uint8Array, bytes = 32): Buffer {
  const hashes: Buffer[] = [];
  for (let at = 0; at < image.length; at += blockBytes) {
    const hash = createHash("sha256").update(image.subarray(at, at + blockBytes));
    hashes.push(hash.digest().subarray(0, bytes));
  }
  return Buffer.concat(hashes);
}

/** Of each chunk, over the hashes of its blocks. */
function naiveChunks(image: Uint8Array): Buffer {
  const hashes: Buffer[] = [];
  for (let at = 0; at < image.length; at += chunkBytes) {
    const blocks = naive(image.subarray(at, at + chunkBytes));
    hashes.push(createHash("sha256").update(blocks).digest());
  }
  return Buffer.concat(hashes);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("chunk hashes", () => {
  it.each([1, 2, 3, 4, 5])("are those of the replayed image, of blocks too, seed %i", async (seed) => {
    const sizeBytes = 40 * chunkBytes + seed * 65_536 + 512;
    const { objects, upTo, images } = await randomJournal(new SeededRandom(seed), new Map([[3, sizeBytes]]));
    const reader = new JournalReader(await BucketJournal.open(objects, vpgId));
    const image = images.get(3) ?? Buffer.alloc(0);
    const ask = { volume: 3, sizeBytes, page: 0, upTo };
    let pauses = 0;
    const pause = async (): Promise<void> => {
      pauses += 1;
    };
    expect(hex(await chunkHashes(reader, { ...ask, pause }))).toBe(hex(naiveChunks(image)));
    expect(pauses).toBeGreaterThan(0);
    // In any order; neighbours, more than one window of them, and the short last one.
    for (const chunks of [[40, 0, 7], [3, 4, 5, 9, 10], [...Array(41).keys()]]) {
      const parts = chunks.map((chunk) =>
        naive(image.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes), blockHashBytes),
      );
      expect(hex(await chunkHashes(reader, { ...ask, blocksOf: chunks }))).toBe(hex(Buffer.concat(parts)));
    }
  });

  it("of blocks are given without another read where they were kept on the way to a chunk's, once, and only of that position", async () => {
    const sizeBytes = 6 * chunkBytes + 512;
    const { objects, upTo, images } = await randomJournal(new SeededRandom(9), new Map([[3, sizeBytes]]));
    const image = images.get(3) ?? Buffer.alloc(0);
    const reader = new JournalReader(await BucketJournal.open(objects, vpgId));
    const ask = { volume: 3, sizeBytes, page: 0, upTo };
    const told: number[] = [];
    const keeps = (chunk: number, hash: Uint8Array): boolean => {
      told.push(chunk);
      expect(hex(hash)).toBe(hex(naiveChunks(image.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes))));
      return chunk !== 2;
    };
    await chunkHashes(reader, { ...ask, keeps });
    // Of the last one, which is zeros, nothing is kept.
    expect(image.subarray(6 * chunkBytes).every((byte) => byte === 0)).toBe(true);
    expect(told).toEqual([0, 1, 2, 3, 4, 5]);
    let pauses = 0;
    const pause = async (): Promise<void> => {
      pauses += 1;
    };
    const blocksOf = [5, 1, 2, 3];
    const right = hex(
      Buffer.concat(
        blocksOf.map((at) => naive(image.subarray(at * chunkBytes, (at + 1) * chunkBytes), blockHashBytes)),
      ),
    );
    // One pause a piece that is read: chunk 2 alone, then all of them, then as of another position.
    expect(hex(await chunkHashes(reader, { ...ask, blocksOf, pause }))).toBe(right);
    expect(pauses).toBe(1);
    expect(hex(await chunkHashes(reader, { ...ask, blocksOf, pause }))).toBe(right);
    expect(pauses).toBe(3);
    await chunkHashes(reader, { ...ask, keeps });
    const before = { session: upTo.session, sequence: upTo.sequence - 1 };
    await chunkHashes(reader, { ...ask, upTo: before, blocksOf, pause });
    expect(pauses).toBe(5);
  });

  it("of pages that nobody wrote cost no read of data", async () => {
    const objects = new MemoryObjects();
    const writer = new JournalWriter(objects);
    const sizeBytes = 2 * pageBytes + 512;
    await writer.open({ volumes: [{ volume: 0, sizeBytes, sectorBytes: 512 }] });
    await writer.append({ extents: [{ sequence: 1, offset: pageBytes - 512, bytes: patterned(512, 3) }] });
    const journal = await BucketJournal.open(objects, vpgId);
    const reader = new JournalReader(journal);
    const ask = { volume: 0, sizeBytes, upTo: { session: 1, sequence: 1 } };
    const zero = hex(naiveChunks(Buffer.alloc(chunkBytes)));
    const empty = hex(await chunkHashes(reader, { ...ask, page: 1, pause: () => Promise.reject(new Error("read")) }));
    expect(empty).toBe(zero.repeat(chunksPerPage));
    expect(hex(await chunkHashes(reader, { ...ask, page: 2 }))).toBe(hex(naiveChunks(Buffer.alloc(512))));
    const first = await chunkHashes(reader, { ...ask, page: 0 });
    const last = Buffer.alloc(chunkBytes);
    last.set(patterned(512, 3), chunkBytes - 512);
    expect(hex(first.subarray(0, -32))).toBe(zero.repeat(chunksPerPage - 1));
    expect(hex(first.subarray(-32))).toBe(hex(naiveChunks(last)));
  });

  describe("of a damaged journal", () => {
    const sizeBytes = 4 * chunkBytes;
    const none = { chunk: "ff".repeat(32), blocks: "ff".repeat(128 * 16) };

    /** Data in each of four chunks, one batch each, and how they are hashed while the batch of chunk 1 is read by `through`. */
    const written = async () => {
      const objects = new MemoryObjects();
      const writer = new JournalWriter(objects);
      await writer.open({ volumes: [{ volume: 0, sizeBytes, sectorBytes: 512 }] });
      const keys: string[] = [];
      for (let chunk = 0; chunk < 4; chunk += 1) {
        const extent = { sequence: chunk + 1, offset: chunk * chunkBytes, bytes: patterned(4096, chunk + 1) };
        keys.push(await writer.append({ extents: [extent] }));
      }
      let get: Objects["get"] = (key, range) => objects.get(key, range);
      const store: Pick<Objects, "get" | "list"> = {
        get: (key, range) => get(key, range),
        list: (prefix, options) => objects.list(prefix, options),
      };
      const journal = await BucketJournal.open(store, vpgId);
      const hashed = async (through?: (bytes: Uint8Array, offset: number, key: string) => Uint8Array) => {
        get = async (key, range) => {
          const bytes = await objects.get(key, range);
          return key === keys[1] && through !== undefined
            ? through(Buffer.from(bytes), range?.offset ?? 0, key)
            : bytes;
        };
        const told: string[] = [];
        const damaged = ({ name }: Error) => void told.push(name);
        const ask = { volume: 0, sizeBytes, page: 0, upTo: { session: 1, sequence: 4 }, damaged };
        const chunks = hex(await chunkHashes(new JournalReader(journal), ask));
        const again = { ...ask, damaged: () => undefined, blocksOf: [0, 1, 2, 3] };
        const blocks = hex(await chunkHashes(new JournalReader(journal), again));
        return { chunks: chunks.match(/.{64}/g), blocks: blocks.match(/.{4096}/g), told };
      };
      return hashed;
    };
    const flipped = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, (bytes[at] ?? 0) ^ 1);
    const eio = (key: string) => fileTrouble(Object.assign(new Error("read"), { code: "EIO" }), key, key);

    it.each(["changed", "gone", "unreadable"])("tell just the chunks that need what is %s", async (how) => {
      const hashed = await written();
      const whole = await hashed();
      expect(whole.told).toEqual([]);
      const found = await hashed((bytes, offset, key) => {
        // The header is read, the frame isn't.
        if (offset === 0) return bytes;
        if (how === "gone") throw new NotFound("gone", { key });
        if (how === "unreadable") throw eio(key);
        return flipped(bytes, 0);
      });
      expect(found.chunks).toEqual(whole.chunks?.with(1, none.chunk));
      expect(found.blocks).toEqual(whole.blocks?.with(1, none.blocks));
      expect(found.told).toEqual([
        new Map([
          ["changed", "Corrupt"],
          ["gone", "NotFound"],
        ]).get(how) ?? "Transient",
      ]);
    });

    it("tell all chunks of a page whose index needs it", async () => {
      const hashed = await written();
      const found = await hashed((bytes) => flipped(bytes, 40));
      expect(found.chunks).toEqual(Array.from({ length: 4 }, () => none.chunk));
      expect(found.blocks).toEqual(Array.from({ length: 4 }, () => none.blocks));
      expect(found.told).toEqual(["Corrupt"]);
    });

    it("tell no chunk that newer batches cover whole, whatever an older header is", async () => {
      const objects = new MemoryObjects();
      const writer = new JournalWriter(objects);
      await writer.open({ volumes: [{ volume: 0, sizeBytes: 2 * chunkBytes, sectorBytes: 512 }] });
      const key = await writer.append({ extents: [{ sequence: 1, offset: 0, bytes: patterned(4096, 1) }] });
      const half = chunkBytes / 2;
      for (const [index, offset] of [0, half].entries()) {
        await writer.append({ extents: [{ sequence: index + 2, offset, bytes: patterned(half, index + 2) }] });
      }
      const journal = await BucketJournal.open(objects, vpgId);
      const ask = { volume: 0, sizeBytes: 2 * chunkBytes, page: 0, upTo: { session: 1, sequence: 3 } };
      const whole = hex(await chunkHashes(new JournalReader(journal), ask)).match(/.{64}/g);
      await objects.put(key, flipped(await objects.get(key), 40));
      const told: string[] = [];
      const damaged = ({ name }: Error) => void told.push(name);
      const found = hex(await chunkHashes(new JournalReader(journal), { ...ask, damaged })).match(/.{64}/g);
      expect([found, told]).toEqual([[whole?.[0], none.chunk], ["Corrupt"]]);
    });

    it("are no answer while the store gives none", async () => {
      const hashed = await written();
      const away = hashed(() => {
        throw new Transient("away");
      });
      await expect(away).rejects.toThrow("away");
    });
  });

  it("are refused outside the volume", async () => {
    const { objects, upTo } = await randomJournal(new SeededRandom(1), new Map([[0, chunkBytes]]));
    const reader = new JournalReader(await BucketJournal.open(objects, vpgId));
    const ask = { volume: 0, sizeBytes: chunkBytes, upTo };
    await expect(chunkHashes(reader, { ...ask, page: 1 })).rejects.toThrow("has no page 1");
    await expect(chunkHashes(reader, { ...ask, page: 0, blocksOf: [1] })).rejects.toThrow("has no chunk 1");
  });
});
