import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { StateDirectory } from "./state-directory.ts";

const schema = z.object({ count: z.int() });

let folder: string;
let state: StateDirectory;

beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), "farshore-state-")), "state");
  state = await StateDirectory.open(folder);
});

afterEach(async () => {
  await state.close();
  await rm(join(folder, ".."), { recursive: true });
});

describe("StateDirectory", () => {
  it("keeps documents for the next life, replaced whole, in the order in which they were written", async () => {
    expect(await state.read("a", schema)).toBeUndefined();
    await Promise.all([1, 2, 3].map((count) => state.write("a", { count })));
    await state.write("b", { count: 9 });
    await state.close();
    state = await StateDirectory.open(folder);
    expect(await state.read("a", schema)).toEqual({ count: 3 });
    expect((await readdir(folder)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("lists by prefix and forgets what is removed, which may be removed again", async () => {
    for (const name of ["command-1", "command-2", "other"]) await state.write(name, { count: 1 });
    expect([...(await state.list("command-"))].sort()).toEqual(["command-1", "command-2"]);
    await state.remove("command-1");
    await state.remove("command-1");
    expect(await state.list("command-")).toEqual(["command-2"]);
    expect(await state.read("command-1", schema)).toBeUndefined();
  });

  it.each([
    ["torn", "{"],
    ["of another shape", '{"count":"1"}'],
  ])("calls a document that is %s corrupt, by its file", async (_, text) => {
    await writeFile(join(folder, "a.json"), text);
    await expect(state.read("a", schema)).rejects.toMatchObject({
      name: "Corrupt",
      message: expect.stringContaining(join(folder, "a.json")),
    });
  });

  it("is one process's, until it is closed, which waits for what is being written", async () => {
    await expect(StateDirectory.open(folder)).rejects.toMatchObject({ name: "DirectoryInUse" });
    const writing = state.write("a", { count: 1 });
    let written = false;
    writing.then(() => {
      written = true;
    });
    await state.close();
    expect(written).toBe(true);
  });
});
