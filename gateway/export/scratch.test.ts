import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CrashDisk, CrashMedium, NumberedImage, stamped, stampOf } from "../../test/kit/crash-disk.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { hydrate } from "./hydrate.ts";
import { LocalBitmap } from "./local-bitmap.ts";
import { createScratch, openScratch } from "./scratch.ts";
import { ScratchDevice } from "./scratch-device.ts";

const sizeBytes = 3 * 2 ** 20 + 1536;
const options = { signal: new AbortController().signal, onProgress: () => undefined };

async function readAll(device: { read(offset: number, target: Uint8Array): void | Promise<void> }): Promise<Buffer> {
  const bytes = Buffer.alloc(sizeBytes);
  await device.read(0, bytes);
  return bytes;
}

describe("scratch in files", () => {
  let folder = "";
  const image = new NumberedImage(sizeBytes, (sector) => sector >= 1024 && sector < 4096);
  const scratch = () => ({ folder: path.join(folder, "v1"), image, sectorBytes: 512 as const });

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "farshore-scratch-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("keeps writes over a clean end, and knows its holes after it", async () => {
    const first = await createScratch(scratch());
    await first.write(1024 * 512, stamped(77, 3), false);
    await first.close();
    expect(await readFile(path.join(folder, "v1", "clean"), "utf8")).toBe("");
    const second = await openScratch(scratch());
    await expect(stat(path.join(folder, "v1", "clean"))).rejects.toThrow("ENOENT");
    const bytes = await readAll(second);
    expect(stampOf(bytes.subarray(1024 * 512, 1027 * 512))).toBe(77);
    expect(stampOf(bytes.subarray(512, 1024))).toBe(2);
    await second.close();
  });

  it("hydrates to a plain sparse file, which serves without the image afterwards", async () => {
    const first = await createScratch(scratch());
    await first.write(512, stamped(5, 1), false);
    await first.trim(0, 512);
    expect(await hydrate(first, image, options)).toBeGreaterThan(0);
    const expected = await readAll(first);
    await first.close();
    const data = await readFile(path.join(folder, "v1", "data"));
    expect(Buffer.compare(data, expected)).toBe(0);
    expect((await stat(path.join(folder, "v1", "data"))).blocks * 512).toBeLessThan(sizeBytes - 2 ** 20);
    await rm(path.join(folder, "v1", "bitmap"));
    const reads = image.reads;
    const second = await openScratch(scratch());
    expect(second).not.toBeInstanceOf(ScratchDevice);
    expect(Buffer.compare(await readAll(second), expected)).toBe(0);
    expect(image.reads).toBe(reads);
    await second.close();
  });

  it("is refused when its files are gone or of another size", async () => {
    await (await createScratch(scratch())).close();
    await writeFile(path.join(folder, "v1", "data"), "x".repeat(512));
    await expect(openScratch(scratch())).rejects.toThrow("its volume");
    await rm(path.join(folder, "v1", "data"));
    await expect(openScratch(scratch())).rejects.toThrow("is missing");
  });

  it("stops hydrating on the signal, keeps what it copied, and goes on later", async () => {
    const device = await createScratch(scratch());
    const abort = new AbortController();
    abort.abort(new Error("enough"));
    await expect(hydrate(device, image, { ...options, signal: abort.signal })).rejects.toThrow("enough");
    expect(device.promoted).toBe(false);
    await hydrate(device, image, options);
    expect(device.promoted).toBe(true);
    await device.close();
  });
});

describe("scratch device", () => {
  function make(image: NumberedImage) {
    const local = new CrashDisk(new CrashMedium(sizeBytes), new SeededRandom(1));
    const bits = new CrashDisk(new CrashMedium(LocalBitmap.fileBytes(sizeBytes)), new SeededRandom(2));
    const device = new ScratchDevice({
      local,
      bitmap: new LocalBitmap(bits, sizeBytes),
      image,
      holesKnown: true,
      recordPromoted: async () => undefined,
      recordClean: async () => undefined,
    });
    return { local, device };
  }

  it("fails for good after a failed flush", async () => {
    const { device, local } = make(new NumberedImage(sizeBytes));
    await device.write(0, stamped(1, 8), false);
    local.failFlushes = true;
    await expect(device.flush()).rejects.toThrow("a flush of the recovered disk failed");
    local.failFlushes = false;
    await expect(device.flush()).rejects.toThrow("EIO");
    expect(() => device.write(0, stamped(1, 8), false)).toThrow("EIO");
  });

  it("is not promoted over a block whose write failed after its adoption", async () => {
    const image = new NumberedImage(sizeBytes, () => true);
    const { device, local } = make(image);
    const before = device.failedWrites;
    await device.adoptZeroes(0, sizeBytes);
    // Fails halfway for one of these lengths at the latest: then garbage stands in the local file.
    local.failOneIn = 1;
    await expect(async () => device.write(0, stamped(9, 8), false)).rejects.toThrow("as the test wishes");
    local.failOneIn = 0;
    expect(await device.promote(before)).toBe(false);
    await hydrate(device, image, options);
    expect((await readAll(device)).equals(Buffer.alloc(sizeBytes))).toBe(true);
  });

  it("does not merge from the image what waited while the disk was promoted", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    class SlowImage extends NumberedImage {
      override async read(offset: number, target: Uint8Array): Promise<void> {
        await held;
        await super.read(offset, target);
      }
    }
    const { device } = make(new SlowImage(sizeBytes, () => true));
    // The first holds the block, the others wait for it; promotion comes between them.
    const first = device.write(0, stamped(1, 1), false);
    const promoted = device.promote(0);
    await new Promise((go) => setImmediate(go));
    const second = device.write(8 * 512, stamped(2, 1), false);
    release();
    await first;
    await promoted;
    await device.write(9 * 512, stamped(3, 1), false);
    await second;
    const bytes = Buffer.alloc(10 * 512);
    await device.read(0, bytes);
    expect([0, 1, 8, 9].map((sector) => stampOf(bytes.subarray(sector * 512, sector * 512 + 512)))).toEqual([
      1, 0, 2, 3,
    ]);
  });

  it("reads the local copy when the journal has gone since", async () => {
    class GoneImage extends NumberedImage {
      override async read(): Promise<void> {
        await device.write(0, stamped(6, 64), false);
        throw new Error("gone");
      }
    }
    const { device } = make(new GoneImage(sizeBytes));
    const bytes = Buffer.alloc(512);
    await device.read(512, bytes);
    expect(stampOf(bytes)).toBe(6);
    await expect(async () => device.read(64 * 512, bytes)).rejects.toThrow("the journal could not be read");
  });
});
