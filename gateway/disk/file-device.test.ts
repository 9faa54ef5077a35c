import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { FileDevice } from "./file-device.ts";
import { syncBytesMax } from "./limits.ts";

const MiB = 1024 * 1024;
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "farshore-disk-"));
  path = join(folder, "disk.img");
  closeSync(openSync(path, "w"));
  truncateSync(path, 8 * MiB);
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("FileDevice", () => {
  it("reads back what was written, small at once and large by the pool", async () => {
    const device = FileDevice.open(path);
    const random = new SeededRandom(1);
    const small = random.bytes(syncBytesMax);
    const large = random.bytes(3 * MiB);
    expect(device.write(512, small, false)).toBeUndefined();
    const pending = device.write(4 * MiB, large, true);
    expect(pending).toBeInstanceOf(Promise);
    await pending;
    const back = Buffer.alloc(small.length);
    expect(device.read(512, back)).toBeUndefined();
    const largeBack = Buffer.alloc(large.length);
    await device.read(4 * MiB, largeBack);
    await device.close();
    expect(back.equals(small)).toBe(true);
    expect(largeBack.equals(large)).toBe(true);
    const file = readFileSync(path);
    expect(file.subarray(512, 512 + small.length).equals(small)).toBe(true);
    expect(file.subarray(4 * MiB, 7 * MiB).equals(large)).toBe(true);
  });

  it.each([
    [true, 512],
    [true, 3 * MiB + 512],
    [false, 512],
    [false, 3 * MiB + 512],
  ])("writes zeros over the exact range (mayTrim %s, %i bytes)", async (mayTrim, length) => {
    const device = FileDevice.open(path);
    await device.write(0, Buffer.alloc(8 * MiB, 0xaa), false);
    await device.writeZeroes(MiB, length, { mayTrim, fua: true });
    await device.close();
    const expected = Buffer.alloc(8 * MiB, 0xaa);
    expected.fill(0, MiB, MiB + length);
    expect(readFileSync(path).equals(expected)).toBe(true);
  });

  it("leaves a hole a hole when zeros may be trimmed", async () => {
    const device = FileDevice.open(path);
    const before = statSync(path).blocks;
    await device.writeZeroes(0, 8 * MiB, { mayTrim: true, fua: false });
    expect(statSync(path).blocks).toBe(before);
    await device.writeZeroes(0, MiB, { mayTrim: false, fua: false });
    await device.close();
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(MiB);
  });

  it("offers no trim", () => {
    const device = FileDevice.open(path);
    expect("trim" in device).toBe(false);
    return device.close();
  });

  it("says EIO when the file was cut under it", async () => {
    const device = FileDevice.open(path);
    truncateSync(path, MiB);
    expect(() => device.read(2 * MiB, Buffer.alloc(4096))).toThrow(expect.objectContaining({ errno: "EIO" }));
    await expect(device.read(2 * MiB, Buffer.alloc(MiB))).rejects.toMatchObject({ errno: "EIO" });
    await device.close();
  });

  it("refuses writes when read-only, and everything when closed", async () => {
    const device = FileDevice.open(path, { readOnly: true });
    expect(() => device.write(0, Buffer.alloc(512), false)).toThrow(expect.objectContaining({ errno: "EPERM" }));
    expect(() => device.writeZeroes(0, MiB, { mayTrim: true, fua: false })).toThrow(
      expect.objectContaining({ errno: "EPERM" }),
    );
    await Promise.all([device.close(), device.close()]);
    expect(() => device.read(0, Buffer.alloc(512))).toThrow(expect.objectContaining({ errno: "ESHUTDOWN" }));
    await expect(device.flush()).rejects.toMatchObject({ errno: "ESHUTDOWN" });
  });

  it("waits for what is in flight before it closes", async () => {
    const device = FileDevice.open(path);
    const bytes = new SeededRandom(2).bytes(2 * MiB);
    const write = device.write(0, bytes, false);
    const closed = device.close();
    await write;
    await closed;
    expect(readFileSync(path).subarray(0, bytes.length).equals(bytes)).toBe(true);
  });

  it.each([
    ["a folder", () => folder],
    ["a character device", () => "/dev/null"],
    [
      "an empty file",
      () => {
        truncateSync(path, 0);
        return path;
      },
    ],
    [
      "half a sector",
      () => {
        writeFileSync(path, Buffer.alloc(700));
        return path;
      },
    ],
  ])("refuses %s by name", (_, target) => {
    expect(() => FileDevice.open(target())).toThrow(expect.objectContaining({ name: "InvalidInput" }));
  });
});
