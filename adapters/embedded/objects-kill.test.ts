import { spawn } from "node:child_process";
import { createHash, randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { FileObjects } from "./objects.ts";

const writer = fileURLToPath(new URL("../../test/kit/put-forever.ts", import.meta.url));
const rounds = 12;

describe("FileObjects under SIGKILL", () => {
  it(`keeps every acknowledged object and shows only whole ones, killed ${rounds} times`, async () => {
    const root = await mkdtemp(join(tmpdir(), "farshore-kill-"));
    const acknowledged = new Set<string>();
    for (let round = 0; round < rounds; round++) {
      const { keys, counter } = await runAndKill(root, round);
      for (const key of keys) acknowledged.add(key);
      const objects = await FileObjects.open(root);
      await expectKept(objects, keys, `r${round}/`);
      if (counter > 0) await expectCounter(objects, round, counter);
      expect(await readdir(join(root, ".tmp")), "temporary files of the dead").toEqual([]);
    }
    expect(acknowledged.size).toBeGreaterThan(0);
    await expectKept(await FileObjects.open(root), [...acknowledged], "r");
    await rm(root, { recursive: true });
  });
});

/** Lets the writer run until it has acknowledged a random number of puts, and kills it in the middle of the next ones. */
async function runAndKill(root: string, round: number): Promise<{ keys: string[]; counter: number }> {
  const child = spawn(process.execPath, [writer, root, String(round)], { stdio: ["ignore", "pipe", "inherit"] });
  const enough = randomInt(1, 120);
  let seen = 0;
  child.stdout.on("data", (data: Buffer) => {
    seen += data.toString().split("\n").length - 1;
    if (seen >= enough) child.kill("SIGKILL");
  });
  const [printed] = await Promise.all([text(child.stdout), once(child, "exit")]);
  const lines = printed.slice(0, printed.lastIndexOf("\n")).split("\n");
  const counters = lines.filter((line) => line.startsWith("counter ")).map((line) => Number(line.slice(8)));
  return { keys: lines.filter((line) => line.startsWith("r")), counter: Math.max(0, ...counters) };
}

/** Every acknowledged key is listed, and every listed object is whole. */
async function expectKept(objects: FileObjects, acknowledged: readonly string[], prefix: string): Promise<void> {
  const visible = new Set<string>();
  for (let after = ""; ; ) {
    const page = await objects.list(prefix, { after });
    for (const { key } of page) visible.add(key);
    after = page.at(-1)?.key ?? "";
    if (page.length < 1000) break;
  }
  for (const key of acknowledged) expect(visible, "acknowledged").toContain(key);
  for (const key of visible) await expectWhole(objects, key);
}

async function expectWhole(objects: FileObjects, key: string): Promise<void> {
  const body = await objects.get(key);
  const hash = createHash("sha256").update(body.subarray(32)).digest();
  expect(hash.equals(body.subarray(0, 32)), `${key} is whole`).toBe(true);
}

/** The counter is the last acknowledged one or the one in flight behind it, and written out in full. */
async function expectCounter(objects: FileObjects, round: number, acknowledged: number): Promise<void> {
  const seen = new TextDecoder().decode(await objects.get("counter"));
  const wanted = [acknowledged, acknowledged + 1].map((count) => `${round} ${count} `.repeat(count % 50));
  expect(wanted).toContain(seen);
}
