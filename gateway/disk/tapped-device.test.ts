import { describe, expect, it } from "vitest";
import { FaultyDevice } from "../../test/kit/faulty-device.ts";
import { MemoryDevice } from "../../test/kit/memory-device.ts";
import { RecordingTap } from "../../test/kit/recording-tap.ts";
import type { Tap } from "../tap/tap.ts";
import { flushGrainBytes } from "./limits.ts";
import { TappedDevice } from "./tapped-device.ts";

const sizeBytes = 4 * flushGrainBytes + 512;

function neverFaults(error: unknown): void {
  throw error;
}

function build(faults: ConstructorParameters<typeof FaultyDevice>[2] = {}) {
  const memory = new MemoryDevice(sizeBytes);
  const disk = new FaultyDevice(memory, 1, faults);
  const tap = new RecordingTap(sizeBytes);
  return { memory, disk, tap, device: new TappedDevice(disk, tap, 3, neverFaults) };
}

describe("R1", () => {
  it("completes at once, without a promise, when the disk does", () => {
    const { device, tap } = build();
    expect(device.write(512, Buffer.alloc(512, 5), false)).toBeUndefined();
    expect(device.writeZeroes(1024, 512, { mayTrim: true, fua: false })).toBeUndefined();
    expect(device.read(0, Buffer.alloc(2048))).toBeUndefined();
    expect(tap.records).toEqual([
      { volume: 3, offset: 512, bytes: Buffer.alloc(512, 5) },
      { volume: 3, offset: 1024, bytes: Buffer.alloc(512) },
    ]);
  });

  it("does a FUA write, then flushes the disk before it returns", async () => {
    const { device, memory } = build();
    await device.write(0, Buffer.alloc(512, 1), true);
    expect(memory.flushes).toBe(1);
  });

  it("shares flushes among those who wait", async () => {
    const { device, memory } = build();
    await Promise.all(Array.from({ length: 10 }, () => device.flush()));
    expect(memory.flushes).toBe(2);
  });
});

describe("R2", () => {
  it("journals what a failed write left on the disk, before the guest gets its error", async () => {
    const { device, memory, tap } = build({ writeIsPartial: 1 });
    await expect(device.write(0, Buffer.alloc(64 * 512, 9), false)).rejects.toMatchObject({ errno: "EIO" });
    expect(tap.imageAfter(tap.records.length).equals(memory.image)).toBe(true);
    expect(memory.image.includes(9)).toBe(true);
    expect(tap.distrusts).toEqual([]);
  });

  it("distrusts what it can't read again", async () => {
    const { device, tap } = build({ writeFails: 1, readFails: 1 });
    await expect(device.write(1024, Buffer.alloc(512, 9), false)).rejects.toMatchObject({ errno: "EIO" });
    expect(tap.records).toEqual([]);
    expect(tap.distrusts).toEqual([{ volume: 3, offset: 1024, length: 512 }]);
  });

  it("distrusts everything since the last good flush when one fails, and only that", async () => {
    const { device, disk, tap } = build();
    device.write(0, Buffer.alloc(512, 1), false);
    await device.flush();
    device.write(2 * flushGrainBytes, Buffer.alloc(512, 1), false);
    device.write(sizeBytes - 512, Buffer.alloc(512, 1), false);
    disk.faults.flushFails = 1;
    const unflushed = [
      { volume: 3, offset: 2 * flushGrainBytes, length: flushGrainBytes },
      { volume: 3, offset: 4 * flushGrainBytes, length: 512 },
    ];
    await expect(device.flush()).rejects.toMatchObject({ errno: "EIO" });
    expect(tap.distrusts).toEqual(unflushed);
    await expect(device.flush()).rejects.toMatchObject({ errno: "EIO" });
    expect(tap.distrusts).toEqual([...unflushed, ...unflushed]);
    disk.faults.flushFails = 0;
    await device.flush();
    disk.faults.flushFails = 1;
    await expect(device.flush()).rejects.toMatchObject({ errno: "EIO" });
    expect(tap.distrusts).toHaveLength(4);
  });

  it("remembers a failed write for the next failed flush", async () => {
    const { device, disk, tap } = build({ writeFails: 1, readFails: 1 });
    await expect(device.write(0, Buffer.alloc(512, 9), false)).rejects.toMatchObject({ errno: "EIO" });
    disk.faults.flushFails = 1;
    await expect(device.flush()).rejects.toMatchObject({ errno: "EIO" });
    expect(tap.distrusts.at(-1)).toEqual({ volume: 3, offset: 0, length: flushGrainBytes });
  });

  it("treats the failed flush of a FUA write as any other", async () => {
    const { device, disk, tap } = build();
    device.write(0, Buffer.alloc(512, 1), false);
    disk.faults.flushFails = 1;
    await expect(device.write(flushGrainBytes, Buffer.alloc(512), true)).rejects.toMatchObject({ errno: "EIO" });
    expect(tap.distrusts).toEqual([{ volume: 3, offset: 0, length: 2 * flushGrainBytes }]);
  });
});

describe("production first", () => {
  it("does the guest's write when the tap breaks its promise, and reports it", async () => {
    const faults: unknown[] = [];
    const distrusts: number[] = [];
    const broken: Tap = {
      write: () => {
        throw new TypeError("a bug");
      },
      zero: () => {
        throw new TypeError("a bug");
      },
      distrust: (_, offset) => {
        distrusts.push(offset);
      },
    };
    const memory = new MemoryDevice(sizeBytes);
    const device = new TappedDevice(memory, broken, 1, (error) => faults.push(error));
    await device.write(512, Buffer.alloc(512, 4), false);
    await device.writeZeroes(0, 512, { mayTrim: false, fua: false });
    expect(memory.image[512]).toBe(4);
    expect(faults).toHaveLength(2);
    expect(distrusts).toEqual([512, 0]);
  });
});

describe("R14", () => {
  it("tells a watcher about writes that overlap, from those in flight at the start to the end", async () => {
    const { device, disk } = build({ isLate: 1 });
    const inFlight = device.write(0, Buffer.alloc(512, 1), false);
    const first = device.watch(0, 1024);
    const second = device.watch(1024, 1024);
    expect(first.overlapped()).toBe(true);
    await inFlight;
    disk.faults.isLate = 0;
    expect(second.overlapped()).toBe(false);
    await device.write(2048, Buffer.alloc(512, 1), false);
    expect(second.overlapped()).toBe(false);
    await device.writeZeroes(1536, 512, { mayTrim: true, fua: false });
    expect(second.overlapped()).toBe(true);
    first.end();
    second.end();
    second.end();
    const third = device.watch(1536, 512);
    expect(third.overlapped()).toBe(false);
    third.end();
  });

  it("keeps writes out of a locked read until its use is done, and lets reads through", async () => {
    const { device, memory } = build();
    const order: string[] = [];
    const locked = device.lockedRead(0, 1024, async (bytes) => {
      expect(memory.image.subarray(0, 1024).equals(bytes)).toBe(true);
      order.push("begin");
      await new Promise((resolve) => setImmediate(resolve));
      order.push("end");
      return 42;
    });
    const write = Promise.resolve(device.write(512, Buffer.alloc(512, 1), false)).then(() => order.push("write"));
    expect(device.write(1024, Buffer.alloc(512, 1), false)).toBeUndefined();
    expect(await locked).toBe(42);
    await write;
    expect(order).toEqual(["begin", "end", "write"]);
  });

  it("gives the lock back when the disk can't be read", async () => {
    const { device, disk } = build({ readFails: 1 });
    await expect(device.lockedRead(0, 512, () => 1)).rejects.toMatchObject({ errno: "EIO" });
    disk.faults.readFails = 0;
    expect(device.write(0, Buffer.alloc(512), false)).toBeUndefined();
  });
});
