import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { blockWrites, identifyDisk, sameDisks } from "./disk-identity.ts";

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
