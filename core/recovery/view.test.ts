import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { chunkBytes, pageBytes } from "#core/blocks/geometry.ts";
import { Corrupt, InvalidInput, Transient } from "#core/errors.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { decodeHeader } from "#core/journal/decode.ts";
import { decodeFrame } from "#core/journal/frame.ts";
import { patterned, vpgId } from "../../test/kit/batches.ts";
import { collected, JournalWriter } from "../../test/kit/journal.ts";
import { imageInAnyOrder, imageInOrder } from "./image-stream.ts";
import { JournalReader } from "./journal-reader.ts";
import type { JournalSource } from "./journal-source.ts";
import { View } from "./view.ts";

const tib = 1024 ** 4;

/** Counts what is asked of the bucket. */
function counted(source: JournalSource): JournalSource & { headers: number; frames: number; lists: number } {
  const counts = {
    headers: 0,
    frames: 0,
    lists: 0,
    batchesTouching: (...args: Parameters<JournalSource["batchesTouching"]>) => {
      counts.lists += 1;
      return source.batchesTouching(...args);
    },
    batchesAlone: source.batchesAlone,
    generation: source.generation,
    refresh: () => source.refresh(),
    layerSections: (volume: number, chunk: number) => source.layerSections(volume, chunk),
    layersTouch: (volume: number, first: number, last: number) => source.layersTouch(volume, first, last),
    header: (...args: Parameters<JournalSource["header"]>) => {
      counts.headers += 1;
      return source.header(...args);
    },
    frame: (...args: Parameters<JournalSource["frame"]>) => {
      counts.frames += 1;
      return source.frame(...args);
    },
  };
  return counts;
}

async function tebibyteJournal(): Promise<{ objects: MemoryObjects; keys: string[] }> {
  const objects = new MemoryObjects();
  const writer = new JournalWriter(objects);
  await writer.open({ volumes: [{ volume: 0, sizeBytes: tib, sectorBytes: 512 }] });
  const keys = [
    await writer.append({
      extents: [
        { sequence: 1, offset: 0, bytes: patterned(4096, 1) },
        { sequence: 2, offset: pageBytes - 512, bytes: patterned(1024, 2) },
      ],
      events: [{ kind: "marker", sequence: 3, time: 1, tag: "" }],
    }),
    await writer.append({
      extents: [
        { sequence: 4, offset: 512, zero: 512 },
        { sequence: 5, offset: tib - 512, bytes: patterned(512, 3) },
      ],
      events: [{ kind: "marker", sequence: 6, time: 2, tag: "" }],
    }),
  ];
  return { objects, keys };
}

const upTo = { session: 1, sequence: 6 };

describe("a view", () => {
  it("asks for nothing until it is read, and then only for what the page needs", async () => {
    const { objects } = await tebibyteJournal();
    const source = counted(await BucketJournal.open(objects, vpgId));
    const view = new View({ reader: new JournalReader(source), volume: 0, sizeBytes: tib, upTo });
    expect(source).toMatchObject({ lists: 0, headers: 0, frames: 0 });
    const sector = new Uint8Array(512);
    await view.read(tib - 512, sector);
    expect(sector).toEqual(patterned(512, 3));
    expect(source).toMatchObject({ lists: 1, headers: 1, frames: 1 });
    await view.read(5 * pageBytes, sector);
    expect(sector).toEqual(new Uint8Array(512));
    expect(source).toMatchObject({ lists: 2, headers: 1, frames: 1 });
  });

  it("loads a page, header and frame once for readers that ask at the same time", async () => {
    const { objects } = await tebibyteJournal();
    const source = counted(await BucketJournal.open(objects, vpgId));
    const view = new View({ reader: new JournalReader(source), volume: 0, sizeBytes: tib, upTo });
    await Promise.all(Array.from({ length: 8 }, () => view.read(0, new Uint8Array(4096))));
    expect(source).toMatchObject({ lists: 1, headers: 2, frames: 1 });
  });

  it("reads across sectors, chunks and pages at any alignment", async () => {
    const { objects } = await tebibyteJournal();
    const reader = new JournalReader(await BucketJournal.open(objects, vpgId));
    const view = new View({ reader, volume: 0, sizeBytes: tib, upTo });
    const start = new Uint8Array(4096);
    start.set(patterned(4096, 1));
    start.fill(0, 512, 1024);
    const bytes = new Uint8Array(1500);
    await view.read(100, bytes);
    expect(bytes).toEqual(start.subarray(100, 1600));
    await view.read(pageBytes - 700, bytes);
    expect(bytes.subarray(0, 188)).toEqual(new Uint8Array(188));
    expect(bytes.subarray(188, 1212)).toEqual(patterned(1024, 2));
    const before = new View({ reader, volume: 0, sizeBytes: tib, upTo: { session: 1, sequence: 3 } });
    await before.read(100, bytes);
    expect(bytes).toEqual(patterned(4096, 1).subarray(100, 1600));
  });

  it("finds data without looking at pages that have none", async () => {
    const { objects } = await tebibyteJournal();
    const reader = new JournalReader(await BucketJournal.open(objects, vpgId));
    const view = new View({ reader, volume: 0, sizeBytes: tib, upTo });
    expect(await collected(view.dataRanges(), (range) => range)).toEqual([
      { offset: 0, length: 512 },
      { offset: 1024, length: 3072 },
      { offset: pageBytes - 512, length: 1024 },
      { offset: tib - 512, length: 512 },
    ]);
    expect(await view.nextData(2000)).toEqual({ offset: 2000, length: 2096 });
    expect(await view.nextData(pageBytes + 512)).toEqual({ offset: tib - 512, length: 512 });
    expect(await view.nextData(tib)).toBeUndefined();
    expect(await view.isZeroRange(512, 512)).toBe(true);
    expect(await view.isZeroRange(512, 513)).toBe(false);
    const copy = ({ offset, bytes }: { offset: number; bytes: Uint8Array }): [number, number] => [offset, bytes.length];
    const ordered = await collected(imageInOrder(view), copy);
    expect(ordered).toEqual([
      [0, 512],
      [1024, 3072],
      [pageBytes - 512, 512],
      [pageBytes, 512],
      [tib - 512, 512],
    ]);
    const any = await collected(imageInAnyOrder(view), copy);
    expect(any.reduce((total, [, length]) => total + length, 0)).toBe(5120 - 512 + 512);
    expect(await collected(imageInOrder(view, { from: 600, to: 1100 }), copy)).toEqual([[1024, 76]]);
    await expect(collected(imageInOrder(view, { windowBytes: 3 * chunkBytes }), copy)).rejects.toThrow(InvalidInput);
  });

  it("refuses ranges outside the volume", async () => {
    const { objects } = await tebibyteJournal();
    const reader = new JournalReader(await BucketJournal.open(objects, vpgId));
    const view = new View({ reader, volume: 0, sizeBytes: tib, upTo });
    await expect(view.read(tib - 1, new Uint8Array(2))).rejects.toThrow(InvalidInput);
    await expect(view.read(-1, new Uint8Array(2))).rejects.toThrow(InvalidInput);
    await expect(view.read(Number.NaN, new Uint8Array(2))).rejects.toThrow(InvalidInput);
  });

  it("refuses a damaged frame or header by Corrupt, and reads on elsewhere", async () => {
    const { objects, keys } = await tebibyteJournal();
    const journal = await BucketJournal.open(objects, vpgId);
    const key = keys[0] ?? "";
    const bytes = await objects.get(key);
    const start = decodeHeader(bytes).frames[0]?.start ?? 0;
    for (const place of [start + 5, 100]) {
      const changed = Uint8Array.from(bytes);
      changed[place] = (changed[place] ?? 0) ^ 1;
      await objects.put(key, changed);
      const view = new View({ reader: new JournalReader(journal), volume: 0, sizeBytes: tib, upTo });
      await expect(view.read(0, new Uint8Array(512))).rejects.toThrow(Corrupt);
      await view.read(tib - 512, new Uint8Array(512));
    }
    await objects.put(key, await objects.get(keys[1] ?? ""));
    const view = new View({ reader: new JournalReader(journal), volume: 0, sizeBytes: tib, upTo });
    await expect(view.read(0, new Uint8Array(512))).rejects.toThrow(Corrupt);
  });

  it("reads what newer batches cover whole although an older header is damaged, and the rest once that is mended", async () => {
    // The last chunk is short.
    const sizeBytes = 2 * chunkBytes + 4096;
    const objects = new MemoryObjects();
    const writer = new JournalWriter(objects);
    await writer.open({ volumes: [{ volume: 0, sizeBytes, sectorBytes: 512 }] });
    const image = patterned(sizeBytes, 7);
    const key = await writer.append({ extents: [{ sequence: 1, offset: 0, bytes: patterned(4096, 1) }] });
    const half = chunkBytes / 2;
    const ends = [0, half, chunkBytes, chunkBytes + half, 2 * chunkBytes - 512, 2 * chunkBytes, sizeBytes];
    for (const [index, offset] of ends.slice(0, -1).entries()) {
      // The last sector of the second chunk is left out.
      if (offset === 2 * chunkBytes - 512) continue;
      const bytes = image.subarray(offset, ends[index + 1]);
      await writer.append({ extents: [{ sequence: offset === 2 * chunkBytes ? 6 : index + 2, offset, bytes }] });
    }
    const journal = await BucketJournal.open(objects, vpgId);
    const good = await objects.get(key);
    const changed = Uint8Array.from(good);
    changed[100] = (changed[100] ?? 0) ^ 1;
    await objects.put(key, changed);
    const viewAt = (sequence: number, asksOnce = false) =>
      new View({
        ...{ reader: new JournalReader(journal), volume: 0, sizeBytes, asksOnce },
        upTo: { session: 1, sequence },
      });
    const read = async (view: View, offset: number, length: number) => {
      const bytes = new Uint8Array(length);
      await view.read(offset, bytes);
      return bytes;
    };
    const view = viewAt(6);
    expect(Buffer.compare(await read(view, 0, chunkBytes), image.subarray(0, chunkBytes))).toBe(0);
    expect(Buffer.compare(await read(view, 2 * chunkBytes, 4096), image.subarray(2 * chunkBytes))).toBe(0);
    await expect(read(view, chunkBytes, 512)).rejects.toThrow(Corrupt);
    await expect(read(viewAt(1), 0, 512)).rejects.toThrow(Corrupt);
    await expect(read(viewAt(5), 2 * chunkBytes, 512)).rejects.toThrow(Corrupt);
    const once = viewAt(6, true);
    await expect(read(once, chunkBytes, 512)).rejects.toThrow(Corrupt);

    await objects.put(key, good);
    await expect(read(once, chunkBytes, 512)).rejects.toThrow(Corrupt);
    expect(await read(view, chunkBytes, 512)).toEqual(image.slice(chunkBytes, chunkBytes + 512));
    expect(await read(view, 2 * chunkBytes - 512, 512)).toEqual(new Uint8Array(512));
  });

  it("asks again after a failure", async () => {
    const { objects } = await tebibyteJournal();
    const journal = await BucketJournal.open(objects, vpgId);
    let failures = 3;
    const source: JournalSource = {
      batchesTouching: (volume, page, to) => journal.batchesTouching(volume, page, to),
      batchesAlone: true,
      generation: "",
      refresh: async () => undefined,
      layerSections: () => journal.layerSections(),
      layersTouch: () => journal.layersTouch(),
      header: (ref) => {
        failures -= 1;
        return failures > 0 ? Promise.reject(new Transient("not now")) : journal.header(ref);
      },
      frame: (ref, header, index) => journal.frame(ref, header, index),
    };
    const view = new View({ reader: new JournalReader(source), volume: 0, sizeBytes: tib, upTo });
    const sector = new Uint8Array(512);
    await expect(view.read(0, sector)).rejects.toThrow(Transient);
    await view.read(0, sector);
    expect(sector).toEqual(patterned(512, 1));
  });
});

describe("a read apart", () => {
  it("has the same bytes with the frames that it leaves to be decoded, and keeps none of these", async () => {
    const objects = new MemoryObjects();
    const writer = new JournalWriter(objects);
    await writer.open({ volumes: [{ volume: 0, sizeBytes: 4 * chunkBytes, sectorBytes: 512 }] });
    const written = Buffer.concat([0, 1, 2].map((part) => Buffer.from(patterned(256 * 1024, part + 1))));
    await writer.append({
      extents: [0, 1, 2].map((part) => {
        const offset = part * 256 * 1024;
        return { sequence: part + 1, offset, bytes: written.subarray(offset, offset + 256 * 1024) };
      }),
    });
    const source = counted(await BucketJournal.open(objects, vpgId));
    const view = new View({
      ...{ reader: new JournalReader(source), volume: 0, sizeBytes: 4 * chunkBytes },
      upTo: { session: 1, sequence: 3 },
    });
    // Two frames and a tenth of the third.
    const target = Buffer.alloc(2 * 256 * 1024 + 25_600);
    for (const frames of [3, 5, 7]) {
      target.fill(0xee);
      const apart = await view.readApart(0, target.length);
      expect([apart.length, apart.frames.length]).toEqual([target.length, 2]);
      for (const { info, stored, runs } of apart.frames) {
        const [at = 0, length = 0, frameOffset = 0] = runs;
        target.set(decodeFrame({ frames: [info] }, 0, stored).subarray(frameOffset, frameOffset + length), at);
      }
      for (const { at, bytes } of apart.pieces) target.set(bytes, at);
      // A piece holds no frame in memory.
      expect(apart.pieces.map(({ bytes }) => bytes.buffer.byteLength)).toEqual([25_600]);
      expect(target.equals(written.subarray(0, target.length))).toBe(true);
      expect(source.frames).toBe(frames);
    }
    await view.read(0, target.fill(0));
    expect(source.frames).toBe(9);
    const { frames, pieces } = await view.readApart(0, target.fill(0).length);
    expect([frames.length, source.frames]).toEqual([0, 9]);
    for (const { at, bytes } of pieces) target.set(bytes, at);
    expect(target.equals(written.subarray(0, target.length))).toBe(true);
  });
});
