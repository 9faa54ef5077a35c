import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { makeFolders } from "./make-folders.ts";
import { readBounded } from "./read-bounded.ts";

const folder = mkdtempSync(join(tmpdir(), "fs-bounded-"));
const file = join(folder, "file");
writeFileSync(file, "12345678");

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("readBounded", () => {
  it("reads a file up to its bound, and refuses a larger one", () => {
    expect(readBounded(file, "The file", 8).toString()).toBe("12345678");
    expect(() => readBounded(file, "The file", 7)).toThrow(`The file ${file} is larger than 7 bytes`);
  });

  it("refuses what is no file without waiting for its end", () => {
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    for (const path of ["/dev/zero", pipe, folder]) {
      expect(() => readBounded(path, "The file", 8)).toThrow(/is no plain file|can't be read \(EISDIR\)/);
    }
    expect(() => readBounded(join(folder, "none"), "The file", 8)).toThrow("can't be read (ENOENT)");
  });
});

describe("makeFolders", () => {
  it("answers the first folder that it made", () => {
    expect(makeFolders(join(folder, "a", "b", "c"))).toBe(join(folder, "a"));
    expect(makeFolders(join(folder, "a", "b", "d"))).toBe(join(folder, "a", "b", "d"));
    expect(makeFolders(join(folder, "a", "b"))).toBeUndefined();
  });

  it("refuses where no folder can be", () => {
    for (const path of ["/proc/none/below", "/dev/null/below", join(file, "below"), file]) {
      expect(() => makeFolders(path)).toThrow(/no directory .* can be made here/);
    }
  });
});
