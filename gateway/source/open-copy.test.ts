import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openCopy, openFound } from "./open-copy.ts";

let root: string;
let folder: string;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "farshore-open-copy-")));
  folder = join(root, "copies");
  for (const name of ["copies", "copies/shop", "secret"]) mkdirSync(join(root, name));
  for (const name of ["copies/shop/a.img", "secret/a.img"]) writeFileSync(join(root, name), Buffer.alloc(1024, name));
});
afterEach(() => rmSync(root, { recursive: true }));

const refused = (what: string) =>
  expect.objectContaining({ name: "InvalidInput", message: expect.stringContaining(what) });

describe("a copy whose path comes over the wire", () => {
  it("is opened read-only inside the folder, also through links that stay there", async () => {
    symlinkSync("shop", join(folder, "link"));
    for (const asked of ["shop/a.img", "link/a.img", join(folder, "shop/a.img")]) {
      const device = await openCopy(folder, asked, 512);
      expect([device.path, device.sizeBytes, device.readOnly]).toEqual([join(folder, "shop/a.img"), 1024, true]);
      await device.close();
    }
  });

  it("is refused outside, through links, and where it is no disk", async () => {
    symlinkSync("../secret", join(folder, "out"));
    for (const asked of ["../secret/a.img", join(root, "secret/a.img"), "out/a.img", ".", "a\0"]) {
      await expect(openCopy(folder, asked, 512)).rejects.toEqual(refused("is not in"));
    }
    await expect(openCopy(folder, "shop", 512)).rejects.toEqual(refused("neither a regular file"));
    await expect(openCopy(folder, "missing", 512)).rejects.toEqual(refused("ENOENT"));
    writeFileSync(join(folder, "odd.img"), Buffer.alloc(513));
    await expect(openCopy(folder, "odd.img", 512)).rejects.toEqual(refused("no whole number"));
  });

  describe("and is another file by the time it is opened", () => {
    const found = (): string => join(folder, "shop/a.img");

    it("is refused when a folder above it became a link that leads out", () => {
      renameSync(join(folder, "shop"), join(folder, "before"));
      symlinkSync("../secret", join(folder, "shop"));
      expect(() => openFound(folder, found(), 512)).toThrow(refused("was replaced"));
    });

    it("is refused when it became a link", () => {
      rmSync(found());
      symlinkSync("../../secret/a.img", found());
      expect(() => openFound(folder, found(), 512)).toThrow(refused("ELOOP"));
    });

    it("is refused when it became a FIFO, without waiting for a writer", () => {
      rmSync(found());
      execFileSync("mkfifo", [found()]);
      expect(() => openFound(folder, found(), 512)).toThrow(refused("neither a regular file"));
    });
  });
});
