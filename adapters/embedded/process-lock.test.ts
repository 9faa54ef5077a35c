import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { acquireLock } from "./process-lock.ts";

const holder = fileURLToPath(new URL("../../test/kit/hold-lock.ts", import.meta.url));

describe("acquireLock", () => {
  let root: string;
  let children: ChildProcess[];
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "farshore-lock-"));
    children = [];
  });
  afterEach(async () => {
    for (const child of children) child.kill("SIGKILL");
    await rm(root, { recursive: true });
  });

  async function startHolder(purpose: string): Promise<{ child: ChildProcess; said: string }> {
    const child = spawn(process.execPath, [holder, root, purpose], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(child);
    const [data] = await once(child.stdout, "data");
    return { child, said: String(data).trim() };
  }

  it("makes the directory, names its holder, and can be released and taken again", () => {
    const directory = join(root, "a/b");
    const first = acquireLock(directory, "site north");
    const again = () => acquireLock(directory, "another");
    expect(again).toThrow(`${directory} is in use by site north (process ${process.pid})`);
    expect(again).toThrow(expect.objectContaining({ name: "DirectoryInUse" }));
    first.release();
    first.release();
    expect(existsSync(join(directory, "lock.json"))).toBe(false);
    acquireLock(directory, "another").release();
  });

  it("refuses while another process holds it, and is free as soon as that one is killed", async () => {
    const { child, said } = await startHolder("gateway g1");
    expect(said).toBe("held");
    expect(() => acquireLock(root, "gateway g2")).toThrow(`gateway g1 (process ${child.pid})`);
    child.kill("SIGKILL");
    await once(child, "exit");
    acquireLock(root, "gateway g2").release();
  });

  it("lets exactly one of several processes that start at once have it", async () => {
    const started = await Promise.all(Array.from({ length: 4 }, (_, place) => startHolder(`racer ${place}`)));
    const said = started.map((one) => one.said);
    expect(said.filter((line) => line === "held")).toHaveLength(1);
    expect(said.filter((line) => line.startsWith("DirectoryInUse: "))).toHaveLength(3);
  });
});
