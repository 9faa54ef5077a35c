import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { objectsContract } from "../../test/contract/objects.ts";
import { FileObjects } from "./objects.ts";

const body = new Uint8Array([1, 2, 3]);

function makeRoot(): Promise<string> {
  return mkdtemp(join(tmpdir(), "farshore-objects-"));
}

objectsContract("FileObjects", async () => {
  const root = await makeRoot();
  return {
    objects: await FileObjects.open(root),
    other: await FileObjects.open(root),
    dispose: () => rm(root, { recursive: true }),
  };
});

describe("FileObjects", () => {
  let root: string;
  let objects: FileObjects;
  beforeEach(async () => {
    root = await makeRoot();
    objects = await FileObjects.open(root);
  });
  afterEach(() => rm(root, { recursive: true }));
  const names = async (prefix: string, after = "") => (await objects.list(prefix, { after })).map(({ key }) => key);

  it("keeps an object as the file of its key, and no temporary file", async () => {
    await objects.put("journal/x/1", body, { ifAbsent: true });
    await objects.put("journal/x/1", body, { ifAbsent: true });
    await objects.put("journal/x/2", body);
    await Promise.allSettled([objects.put("journal", body), objects.put("journal/x/1/2", body)]);
    expect((await stat(join(root, "journal/x/1"))).size).toBe(3);
    expect(await readdir(join(root, ".tmp"))).toEqual([]);
  });

  it("makes the root and all above it", async () => {
    const deep = await FileObjects.open(join(root, "a/b/c"));
    await deep.put("k", body);
    expect((await stat(join(root, "a/b/c/k"))).size).toBe(3);
  });

  it("removes at opening what dead processes were writing, not what living ones are", async () => {
    const folder = join(root, ".tmp");
    const old = new Date(Date.now() - 2 * 3_600_000);
    await writeFile(join(folder, "999999999-dead-0"), body);
    await writeFile(join(folder, `${process.pid}-living-0`), body);
    await writeFile(join(folder, `${process.pid}-older-0`), body);
    await utimes(join(folder, `${process.pid}-older-0`), old, old);
    await FileObjects.open(root);
    expect(await readdir(folder)).toEqual([`${process.pid}-living-0`]);
    expect(await names("")).toEqual([]);
  });

  it("passes over files that no key could name", async () => {
    await mkdir(join(root, "lost+found"));
    await writeFile(join(root, ".DS_Store"), body);
    await objects.put("k", body);
    expect(await names("")).toEqual(["k"]);
  });

  it("read-only touches nothing, and refuses to write", async () => {
    const reader = await FileObjects.open(join(root, "none"), { readOnly: true });
    expect(await reader.list("")).toEqual([]);
    await expect(reader.put("k", body)).rejects.toMatchObject({ name: "Forbidden" });
    await expect(reader.delete("k")).rejects.toMatchObject({ name: "Forbidden" });
    expect(await readdir(root)).toEqual([".tmp"]);
  });

  it("fails a write that the system cuts short, and shows nothing of it", async () => {
    // A limit on file sizes stops a write in its middle, as a full disk does.
    const module = JSON.stringify(new URL("./objects.ts", import.meta.url).href);
    const script = `
      const { FileObjects } = await import(${module});
      const objects = await FileObjects.open(${JSON.stringify(root)});
      const answers = await Promise.allSettled([
        objects.put("large", new Uint8Array(4 << 20), { ifAbsent: true }),
        objects.put("small", new Uint8Array(10), { ifAbsent: true }),
      ]);
      console.log(answers.map(({ value, reason }) => value ?? reason.name + " " + reason.details.code).join());`;
    const limited = `ulimit -f 64; exec "$0" --input-type=module -e "$1"`;
    const { stdout } = await promisify(execFile)("bash", ["-c", limited, process.execPath, script]);
    expect(stdout.trim()).toBe("Transient EFBIG,created");
    expect(await names("")).toEqual(["small"]);
    expect(await readdir(join(root, ".tmp"))).toEqual([]);
  });

  it("answers Transient when its folder of temporary files is gone, and shows nothing", async () => {
    await rm(join(root, ".tmp"), { recursive: true });
    await expect(objects.put("k", body, { ifAbsent: true })).rejects.toMatchObject({
      name: "Transient",
      details: { code: "ENOENT" },
    });
    expect(await names("")).toEqual([]);
  });

  it("sees every change of a folder whose listing it remembers", async () => {
    for (const key of ["d/a", "d/b", "d/c"]) await objects.put(key, body);
    const still = new Date(Date.now() - 60_000);
    const settle = () => utimes(join(root, "d"), still, still);
    await settle();
    expect(await names("d/")).toEqual(["d/a", "d/b", "d/c"]);
    expect(await names("d/", "d/a")).toEqual(["d/b", "d/c"]);
    await objects.put("d/ab", body);
    expect(await names("d/")).toEqual(["d/a", "d/ab", "d/b", "d/c"]);
    await settle();
    await names("d/");
    await writeFile(join(root, "d/foreign"), body);
    await objects.delete("d/a");
    expect(await names("d/")).toEqual(["d/ab", "d/b", "d/c", "d/foreign"]);
  });

  it("pages through many files, reading a still folder once", async () => {
    await mkdir(join(root, "many"));
    const keys = Array.from({ length: 2500 }, (_, place) => `many/${String(place).padStart(6, "0")}`);
    await Promise.all(keys.map((key) => writeFile(join(root, key), "")));
    const found: string[] = [];
    for (let page = await names("many/"); page.length > 0; page = await names("many/", page.at(-1)))
      found.push(...page);
    expect(found).toEqual(keys);
  });

  it("lets a reader see a new object only when its name is durable", async () => {
    const puts = Array.from({ length: 30 }, (_, place) => objects.put(`s/${place}`, body, { ifAbsent: true }));
    const settled = new Set<string>();
    puts.forEach((put, place) => void put.then(() => settled.add(`s/${place}`)));
    // Every listing comes after the puts of what it names: none of them is ahead by more than a turn of the loop.
    for (let turn = 0; turn < 20; turn++) {
      const seen = await names("s/");
      await new Promise((resolve) => setImmediate(resolve));
      for (const key of seen) expect(settled).toContain(key);
    }
    await Promise.all(puts);
    expect(await names("s/")).toHaveLength(30);
  });
});
