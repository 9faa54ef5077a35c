import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { blockWrites, findAgain, identifyDisk, knowDisks, sameDisks } from "./disk-identity.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "farshore-identity-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const identify = (path: string) => identifyDisk({ vmName: "db", name: "data", path, sizeBytes: 4096 });

describe("a file's identity", () => {
  it("is another one when something wrote it and set its time back", async () => {
    const path = join(folder, "data.img");
    writeFileSync(path, Buffer.alloc(4096));
    const before = await identify(path);
    expect(sameDisks([before], [await identify(path)])).toBe(true);
    const { atime, mtime } = statSync(path);
    copyFileSync(path, join(folder, "copy.img"));
    writeFileSync(path, Buffer.alloc(4096, 1));
    utimesSync(path, atime, mtime);
    expect(sameDisks([before], [await identify(path)])).toBe(false);
  });
});

describe("a block device's identity", () => {
  const stat = "  120  4  960  11  77  3  640  9  0  20  21  5  0  4096  1  2  1";
  const device = (text: string, counting = "1") => {
    mkdirSync(join(folder, "8:16", "queue"), { recursive: true });
    writeFileSync(join(folder, "8:16", "queue", "iostats"), `${counting}\n`);
    writeFileSync(join(folder, "8:16", "stat"), `${text}\n`);
    writeFileSync(join(folder, "boot_id"), "c0ffee\n");
    return blockWrites(join(folder, "8:16"), join(folder, "boot_id"));
  };
  const disk = (modifiedAt: string) =>
    ({ vmName: "db", name: "data", path: "/dev/sdb", sizeBytes: 4096, identity: "block 2064", modifiedAt }) as const;

  it("counts writes and discards since the boot, not reads", async () => {
    const before = await device(stat);
    expect(await device(stat.replace("120", "121"))).toBe(before);
    for (const [from, to] of [
      ["77", "78"],
      ["640", "648"],
      ["5  0", "6  0"],
    ] as const) {
      expect(await device(stat.replace(from, to)), to).not.toBe(before);
    }
    expect(before).toContain("c0ffee");
  });

  it("is never the same where nobody counts", async () => {
    expect(await device(stat, "0")).toBe("");
    expect(await blockWrites(join(folder, "8:32"), join(folder, "boot_id"))).toBe("");
    expect(sameDisks([disk("")], [disk("")])).toBe(false);
    expect(sameDisks([disk("c0ffee 1")], [disk("c0ffee 1")])).toBe(true);
  });
});

describe("a disk that is known from before", () => {
  const path = () => join(folder, "data.img");
  const before = () => {
    writeFileSync(path(), "");
    return knowDisks(identifyDisk, [path()]);
  };
  const isFound = async (known: Awaited<ReturnType<typeof before>>, now: string) =>
    (await findAgain(identifyDisk, known, await knowDisks(identifyDisk, [now])))?.path === now;

  it("is found by another spelling, by a link, and by its new name", async () => {
    const known = await before();
    const [link, moved, other] = [join(folder, "link.img"), join(folder, "moved.img"), join(folder, "other.img")];
    symlinkSync(path(), link);
    writeFileSync(other, "");
    for (const same of [path(), `${folder}//data.img`, link]) expect(await isFound(known, same), same).toBe(true);
    expect(await isFound(known, other)).toBe(false);
    renameSync(path(), moved);
    expect(await isFound(known, moved)).toBe(true);
    // Something else has its place, and it goes on elsewhere.
    writeFileSync(path(), "");
    expect(await isFound(known, moved)).toBe(true);
  });

  it("is known by its path alone when it could not be looked at", async () => {
    const known = await knowDisks(identifyDisk, [path()]);
    expect(known).toEqual([{ path: path(), identity: null }]);
    expect(await isFound(known, path())).toBe(true);
    expect(await isFound(known, join(folder, "other.img"))).toBe(false);
  });

  it("is found after a boot that numbered the block devices anew, and no other for it", async () => {
    const numbers = new Map([
      ["/dev/disk/by-id/a", "block 1"],
      ["/dev/sda", "block 1"],
      ["/dev/sdb", "block 2"],
    ]);
    const identify = async (disk: Parameters<typeof identifyDisk>[0]) => {
      const identity = numbers.get(disk.path);
      if (identity === undefined) throw Object.assign(new Error("none"), { code: "ENOENT" });
      return { ...disk, identity, modifiedAt: "" };
    };
    const known = await knowDisks(identify, ["/dev/disk/by-id/a"]);
    const found = async () =>
      (await findAgain(identify, known, await knowDisks(identify, ["/dev/sda", "/dev/sdb"])))?.path;
    expect(await found()).toBe("/dev/sda");
    numbers.set("/dev/disk/by-id/a", "block 2");
    expect(await found()).toBe("/dev/sdb");
    numbers.delete("/dev/disk/by-id/a");
    expect(await found()).toBe("/dev/sda");
  });
});
