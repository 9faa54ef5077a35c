import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, type TestContext } from "vitest";
import { lockDisk } from "./disk-lock.ts";
import { FileDevice } from "./file-device.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "farshore-lock-"));
  path = join(folder, "disk.img");
  writeFileSync(path, Buffer.alloc(2 ** 20));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A block device over the file. */
function attachLoop(context: TestContext): string {
  try {
    return execFileSync("losetup", ["--find", "--show", path], { encoding: "utf8", stdio: "pipe" }).trim();
  } catch (error) {
    return context.skip(`attaches a loop device: ${error instanceof Error ? error.message.split("\n")[0] : ""}`);
  }
}

describe("lockDisk", () => {
  it("keeps others off a file until it is released", () => {
    const lock = lockDisk(path);
    expect(() => lockDisk(path)).toThrow(`${path} is in use by farshore gateway (process ${process.pid})`);
    lock?.release();
    lockDisk(path)?.release();
  });

  it("says that there is no lock where no lock file can be made", () => {
    mkdirSync(`${path}.lock`);
    expect(lockDisk(path)).toBeUndefined();
  });

  it("leaves a block device to Linux, which opens it for one only, and knows of no lock elsewhere", async (context) => {
    const device = attachLoop(context);
    try {
      expect(lockDisk(device, "darwin")).toBeUndefined();
      lockDisk(device, "linux")?.release();
      const first = FileDevice.open(device);
      expect(() => FileDevice.open(device)).toThrow("EBUSY");
      await first.close();
    } finally {
      execFileSync("losetup", ["--detach", device]);
    }
  });
});
