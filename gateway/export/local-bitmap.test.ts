import { describe, expect, it } from "vitest";
import { bitmapPagesMax, blockBytes } from "./limits.ts";
import { type BitmapStore, LocalBitmap } from "./local-bitmap.ts";

const GiB = 2 ** 30;
const TiB = 2 ** 40;
const blocksPerGiB = GiB / blockBytes;

class MemoryStore implements BitmapStore {
  readonly written = new Map<number, Uint8Array>();
  reads = 0;
  syncs = 0;

  read(offset: number, target: Uint8Array): void {
    this.reads += 1;
    target.fill(0);
    for (let at = 0; at < target.length; at += 4096) {
      const bytes = this.written.get(offset + at);
      if (bytes !== undefined) target.set(bytes, at);
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.written.set(offset, bytes.slice());
  }

  async sync(): Promise<void> {
    this.syncs += 1;
  }

  async close(): Promise<void> {}
}

describe("local bitmap", () => {
  it("tells runs across bytes, sectors and pages", () => {
    const bitmap = new LocalBitmap(new MemoryStore(), 4 * GiB);
    bitmap.set(5, 9);
    bitmap.set(blocksPerGiB - 3, 2 * blocksPerGiB + 7);
    expect(bitmap.runEnd(0, 100)).toBe(5);
    expect(bitmap.runEnd(5, 100)).toBe(9);
    expect(bitmap.runEnd(9, 4 * blocksPerGiB)).toBe(blocksPerGiB - 3);
    expect(bitmap.runEnd(blocksPerGiB - 3, 4 * blocksPerGiB)).toBe(2 * blocksPerGiB + 7);
    expect(bitmap.runEnd(2 * blocksPerGiB + 7, 4 * blocksPerGiB)).toBe(4 * blocksPerGiB);
    expect(bitmap.hasAll(5, 9)).toBe(true);
    expect(bitmap.hasAll(5, 10)).toBe(false);
    expect(bitmap.has(blocksPerGiB)).toBe(true);
  });

  it("costs nothing to open for 16 TiB and writes only what changed", async () => {
    const store = new MemoryStore();
    const bitmap = new LocalBitmap(store, 16 * TiB);
    expect(store.reads).toBe(0);
    bitmap.set(16 * 1024 * blocksPerGiB - 1, 16 * 1024 * blocksPerGiB);
    bitmap.set(3, 4);
    await bitmap.persist(async () => undefined);
    expect([...store.written.keys()]).toEqual([LocalBitmap.fileBytes(16 * TiB) - 4096, 0]);
    await bitmap.persist(async () => undefined);
    expect(store.syncs).toBe(1);
  });

  it("keeps bits that are in no file yet, and drops and reloads the others, when it holds many pages", async () => {
    const store = new MemoryStore();
    const bitmap = new LocalBitmap(store, 16 * TiB);
    bitmap.set(7, 8);
    await bitmap.persist(async () => undefined);
    bitmap.set(blocksPerGiB + 7, blocksPerGiB + 8);
    let release = (): void => undefined;
    bitmap.set(2 * blocksPerGiB + 7, 2 * blocksPerGiB + 8);
    const persisting = bitmap.persist(
      () =>
        new Promise((resolve) => {
          release = resolve;
        }),
    );
    bitmap.set(3 * blocksPerGiB + 7, 3 * blocksPerGiB + 8);
    for (let page = 4; page < bitmapPagesMax + 20; page += 1) bitmap.has(page * blocksPerGiB);
    const reads = store.reads;
    for (const page of [1, 2, 3]) expect(bitmap.has(page * blocksPerGiB + 7)).toBe(true);
    expect(store.reads).toBe(reads);
    expect(bitmap.has(7)).toBe(true);
    expect(store.reads).toBe(reads + 1);
    release();
    await persisting;
  });

  it("writes no bit that was set after the data was made durable", async () => {
    const store = new MemoryStore();
    const bitmap = new LocalBitmap(store, GiB);
    bitmap.set(0, 1);
    await bitmap.persist(async () => bitmap.set(1, 2));
    expect(store.written.get(0)?.[0]).toBe(1);
    await bitmap.persist(async () => undefined);
    expect(store.written.get(0)?.[0]).toBe(3);
  });
});
