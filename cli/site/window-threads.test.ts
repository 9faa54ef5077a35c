import { afterEach, describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import type { Objects } from "#core/ports.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { type ChunkHashesAsk, chunkHashes } from "#core/sync/chunk-hashes.ts";
import { unreadableByte } from "#core/sync/pieces.ts";
import { patterned, vpgId } from "../../test/kit/batches.ts";
import { JournalWriter } from "../../test/kit/journal.ts";
import { randomJournal } from "../../test/kit/random-journal.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { WindowThreads } from "./window-threads.ts";

let threads = new WindowThreads(2);
afterEach(async () => {
  await threads.close();
  threads = new WindowThreads(2);
});

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** By a reader of its own: what one keeps the other doesn't see. */
const hashesOf = async (objects: Pick<Objects, "get" | "list">, ask: ChunkHashesAsk): Promise<string> =>
  hex(await chunkHashes(new JournalReader(await BucketJournal.open(objects, vpgId)), ask));

/** A whole frame in each chunk, a batch each, and a scattered one. */
async function journal(chunks: number) {
  const objects = new MemoryObjects();
  const writer = new JournalWriter(objects);
  const sizeBytes = chunks * chunkBytes;
  await writer.open({ volumes: [{ volume: 0, sizeBytes, sectorBytes: 512 }] });
  const keys: string[] = [];
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    const extent = { sequence: chunk + 1, offset: chunk * chunkBytes, bytes: patterned(256 * 1024, chunk + 1) };
    keys.push(await writer.append({ extents: [extent] }));
  }
  const scattered = Array.from({ length: chunks }, (_, chunk) => {
    return { sequence: chunks + chunk + 1, offset: chunk * chunkBytes + 8192, bytes: patterned(4096, 99 + chunk) };
  });
  await writer.append({ extents: scattered });
  return { objects, keys, ask: { volume: 0, sizeBytes, page: 0, upTo: { session: 1, sequence: 2 * chunks } } };
}

describe("WindowThreads", () => {
  it.each([1, 2, 3])("answer what this thread would, for chunks and their blocks, seed %i", async (seed) => {
    const sizeBytes = 70 * chunkBytes + 512;
    const { objects, upTo } = await randomJournal(new SeededRandom(seed), new Map([[3, sizeBytes]]));
    const ask = { volume: 3, sizeBytes, page: 0, upTo };
    expect(await hashesOf(objects, { ...ask, hasher: threads })).toBe(await hashesOf(objects, ask));
    const blocksOf = [70, 0, ...Array.from({ length: 40 }, (_, chunk) => 20 + chunk)];
    expect(await hashesOf(objects, { ...ask, blocksOf, hasher: threads })).toBe(
      await hashesOf(objects, { ...ask, blocksOf }),
    );
  });

  it("answer for one flipped byte of the journal just the chunk that shows it, and tell it once", async () => {
    const { objects, keys, ask } = await journal(40);
    const whole = await hashesOf(objects, { ...ask, hasher: threads });
    const key = keys[33] ?? "";
    const bytes = await objects.get(key);
    // Of the frame, just before the hash that the object ends with.
    const at = bytes.length - 40;
    await objects.put(key, bytes.with(at, (bytes[at] ?? 0) ^ 1));
    const told: string[] = [];
    const damaged = ({ name }: Error) => void told.push(name);
    const found = await hashesOf(objects, { ...ask, hasher: threads, damaged });
    const parts = whole.match(/.{64}/g)?.map((hash) => hash);
    expect(found.match(/.{64}/g)).toEqual(parts?.with(33, unreadableByte.toString(16).repeat(32)));
    expect(told).toEqual(["Corrupt"]);
  });

  it("have no more windows under way than they have room for, whoever asks", async () => {
    const { objects, ask } = await journal(100);
    let [underWay, most] = [0, 0];
    const use: WindowThreads["use"] = (work) =>
      threads.use(async (hash) => {
        underWay += 1;
        most = Math.max(most, underWay);
        try {
          return await work(hash);
        } finally {
          underWay -= 1;
        }
      });
    const hasher = { atOnce: threads.atOnce, use };
    const all = await Promise.all(Array.from({ length: 3 }, () => hashesOf(objects, { ...ask, hasher })));
    expect(new Set(all).size).toBe(1);
    expect(most).toBe(3);
  });

  it("tell who waits when they are ended, and begin again for the next", async () => {
    const { objects, ask } = await journal(40);
    const here = await hashesOf(objects, ask);
    const hasher = { atOnce: 1, use: threads.use.bind(threads) };
    const ended = threads.use(async (hash) => {
      const hashed = hash({ length: chunkBytes, frames: [], pieces: [{ at: 0, bytes: patterned(512, 1) }] });
      await threads.close();
      return hashed;
    });
    await expect(ended).rejects.toMatchObject({ name: "Transient" });
    expect(await hashesOf(objects, { ...ask, hasher })).toBe(here);
  });

  it("go when nobody has asked for a while, and come again", async () => {
    const life: string[] = [];
    const hasher = new WindowThreads(1, 1, () => {
      life.push("opened");
      return {
        run: async () => ({ kind: "failed", name: "Transient", message: "none" }),
        close: async () => void life.push("closed"),
      };
    });
    const read = { length: chunkBytes, frames: [], pieces: [] };
    for (const round of [1, 2]) {
      await expect(hasher.use((hash) => hash(read))).rejects.toMatchObject({ name: "Transient" });
      await expect.poll(() => life).toEqual(new Array(round).fill(["opened", "closed"]).flat());
    }
  });
});
