import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { vpgId } from "../../test/kit/batches.ts";
import { randomJournal } from "../../test/kit/random-journal.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { writeView } from "./view-write.ts";

const sizeBytes = 12 * chunkBytes + 512;

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "farshore-write-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function world(seed: number) {
  const objects = new MemoryObjects();
  const { images, upTo } = await randomJournal(new SeededRandom(seed), new Map([[1, sizeBytes]]), { objects });
  const stop = new AbortController();
  const progress: number[] = [];
  const options = {
    ...{ volume: 1, sizeBytes, sectorBytes: 512 as const, upTo },
    source: await BucketJournal.open(objects, vpgId),
    output: path.join(folder, "out.img"),
    onProgress: (done: number) => void progress.push(done),
    signal: stop.signal,
  };
  return { objects, image: images.get(1) ?? Buffer.alloc(0), stop, progress, options };
}

describe("write view", () => {
  it.each([1, 2, 3])("writes the image of the checkpoint, seed %i", async (seed) => {
    const { options, image, progress } = await world(seed);
    await writeView(options);
    expect((await readFile(options.output)).equals(image)).toBe(true);
    expect(await readdir(folder)).toEqual(["out.img"]);
    expect(progress).toEqual([...progress].sort((left, right) => left - right));
    expect(progress.at(-1)).toBe(sizeBytes);
  });

  it("leaves nothing when it is stopped", async () => {
    const { options, stop } = await world(1);
    stop.abort(new Error("enough"));
    await expect(writeView(options)).rejects.toThrow("enough");
    expect(await readdir(folder)).toEqual([]);
  });

  it("leaves nothing when the journal is damaged, and says where", async () => {
    const { options, objects } = await world(1);
    const [first] = await objects.list("journal/");
    const bytes = Uint8Array.from(await objects.get(first?.key ?? ""));
    bytes[bytes.length - 40] = (bytes[bytes.length - 40] ?? 0) ^ 1;
    await objects.put(first?.key ?? "", bytes);
    await expect(writeView(options)).rejects.toThrow("crc32");
    expect(await readdir(folder)).toEqual([]);
  });
});
