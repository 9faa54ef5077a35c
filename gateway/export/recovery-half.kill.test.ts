/**
 * A recovery half that is killed with SIGKILL again and again while it works through its commands and a guest writes.
 * SEED=n repeats one run: SEED=2 npx vitest run --project unit gateway/export/recovery-half.kill.test.ts
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import type { CommandBody } from "#core/protection/command.ts";
import { operationId } from "../../test/kit/batches.ts";
import { stamped, stampOf } from "../../test/kit/crash-disk.ts";
import { type RandomJournal, randomJournal } from "../../test/kit/random-journal.ts";
import { commandsOf } from "../../test/kit/recovery.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { NbdClient } from "../nbd/client.ts";

const sizes = new Map([
  [1, 24 * chunkBytes],
  [2, 3 * chunkBytes],
]);
const blockBytes = 4096;
const seed = Number(process.env["SEED"] ?? 1);

let folder = "";
let journal: RandomJournal;
let child: ChildProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "fs-kill-"));
  const objects = await FileObjects.open(path.join(folder, "bucket"));
  journal = await randomJournal(new SeededRandom(seed), sizes, { objects, batches: 10 });
});

afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await rm(folder, { recursive: true, force: true });
});

/** Runs the commands; unless `changes` is undefined, the process kills itself after so many changes to the world. Resolves with the kinds that were done. */
async function run(commands: readonly CommandBody[], changes?: number, guest?: Guest): Promise<string[]> {
  const script = path.join(import.meta.dirname, "../../test/kit/recovery-child.ts");
  const started = spawn(
    process.execPath,
    [script, folder, JSON.stringify(commands), ...(changes === undefined ? [] : [String(changes)])],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  child = started;
  const done: string[] = [];
  createInterface({ input: started.stdout }).on("line", (line) => {
    if (line !== "ready") return done.push(JSON.parse(line).kind);
    return guest?.start();
  });
  const [status, signal] = await once(started, "close");
  await guest?.stop();
  if (changes === undefined) expect({ status, signal }).toEqual({ status: 0, signal: null });
  return done;
}

/** Writes blocks of volume 1 durably whenever it can, and knows what each may hold. */
class Guest {
  readonly possible = new Map<number, Set<number>>();
  readonly #random: SeededRandom;
  #stamp = 0x7000_0000;
  #working: Promise<void> | undefined;
  #stopped = false;
  written = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  start(): void {
    this.#stopped = false;
    this.#working = this.#work();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#working;
  }

  async #work(): Promise<void> {
    const socketPath = path.join(folder, "recovery", "s", `${operationId.slice(-10)}.sock`);
    while (!this.#stopped) {
      try {
        const client = await NbdClient.connect({ socketPath }, "shop/db/data");
        while (!this.#stopped) await this.#write(client);
        client.destroy();
      } catch {
        // Not attached yet, or killed: again.
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }

  async #write(client: NbdClient): Promise<void> {
    const block = this.#random.below(client.sizeBytes / blockBytes);
    this.#stamp += 1;
    const before = this.possible.get(block) ?? new Set([-2]);
    this.possible.set(block, new Set([...before, this.#stamp]));
    await client.write(block * blockBytes, stamped(this.#stamp, 8), { fua: true });
    this.possible.set(block, new Set([this.#stamp]));
    this.written += 1;
  }
}

const boots = async (): Promise<number> =>
  (await readFile(path.join(folder, "hooks.log"), "utf8")).split("\n").filter((line) => line.startsWith("boot")).length;

// Each run starts a dozen processes, which takes long on a busy machine.
describe("a recovery half that is killed again and again", { timeout: 120_000 }, () => {
  it(`attaches, boots once and promotes, and loses no durable write of its guest, seed ${seed}`, async () => {
    const random = new SeededRandom(seed);
    const { attach, boot, promote } = commandsOf(journal.upTo, sizes);
    const guest = new Guest(random);
    for (let kills = 0; kills < 6; kills += 1) {
      await run([attach, boot, promote], random.below(60), guest);
    }
    expect(await run([attach, boot, promote], undefined, guest)).toEqual([attach.kind, boot.kind, promote.kind]);
    expect(await boots()).toBe(1);
    expect(guest.written).toBeGreaterThan(0);
    const disk = await readFile(path.join(folder, "recovery", "operations", operationId, "1", "data"));
    const image = journal.images.get(1) ?? Buffer.alloc(0);
    for (let block = 0; block < disk.length / blockBytes; block += 1) {
      const bytes = disk.subarray(block * blockBytes, (block + 1) * blockBytes);
      const possible = guest.possible.get(block) ?? new Set([-2]);
      const asImage = possible.has(-2) && bytes.equals(image.subarray(block * blockBytes, (block + 1) * blockBytes));
      expect(asImage || possible.has(stampOf(bytes)), `block ${block}`).toBe(true);
    }
    const second = await readFile(path.join(folder, "recovery", "operations", operationId, "2", "data"));
    expect(second.equals(journal.images.get(2) ?? Buffer.alloc(0))).toBe(true);
  });

  it(`stops and detaches, and leaves nothing, seed ${seed}`, async () => {
    const random = new SeededRandom(seed + 1000);
    const { attach, boot, stop, detach } = commandsOf(journal.upTo, sizes, "test");
    await run([attach, boot], undefined);
    for (let kills = 0; kills < 3; kills += 1) await run([stop, detach], random.below(9));
    expect(await run([stop, detach], undefined)).toEqual([stop.kind, detach.kind]);
    expect(await boots()).toBe(1);
    const left = await readdir(path.join(folder, "recovery"), { recursive: true });
    expect(left.filter((name) => !["operations", "kept", "s"].includes(name) && !name.endsWith(".sock"))).toEqual([]);
    await expect(readFile(path.join(folder, "db.runs"))).rejects.toThrow("ENOENT");
  });
});
