import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { checkpointSchema } from "#core/api/site-api.ts";
import { farshore, Processes } from "../../scripts/demo/processes.ts";
import { type Stage, setStage, show, until, vm, vpg } from "../../scripts/demo/stage.ts";
import { judge } from "./oracle.ts";
import { Storm } from "./storm.ts";

const volumeBytes = 4 * 2 ** 20;
const volumes = ["one", "two"] as const;
/** One run by default, more by FARSHORE_SEEDS="1 2 3"; a failure names its seed. */
const seeds = (process.env["FARSHORE_SEEDS"] ?? "1 2").split(" ").map(Number);

let processes: Processes | undefined;
let directory: string | undefined;
afterEach(async () => {
  await processes?.stopAll();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

const listSchema = z.array(checkpointSchema);
const list = async (stage: Stage, ...args: string[]) =>
  listSchema.parse(await farshore(["checkpoint", "list", vpg, "--limit", "1000", ...args], stage.env));

async function imageOf(stage: Stage, checkpoint: string, volume: string): Promise<Buffer> {
  const output = join(stage.directory, "image");
  const where = ["--offline", `${stage.directory}/berlin`, "--checkpoint", checkpoint, "--volume", `${vm}/${volume}`];
  await farshore(["--yes", "view", "write", vpg, ...where, "--output", output], stage.env);
  const image = readFileSync(output);
  rmSync(output);
  return image;
}

/** Kills the gateway and the site at random moments and starts them again, while the storm blows. */
async function weather(stage: Stage, running: Processes, random: SeededRandom, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1500 + random.below(2000)));
    const hit = random.below(3);
    if (hit !== 0) await running.stop("gateway-paris", "SIGKILL");
    if (hit !== 1) await running.stop("site-berlin", "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, random.below(500)));
    if (hit !== 1) stage.restart.site();
    if (hit !== 0) stage.restart.source();
  }
}

describe("exactness: every listed checkpoint against the client's own log, with gateway and site killed at random", () => {
  it.each(seeds)("seed %i", async (seed) => {
    const repeat = `FARSHORE_SEEDS=${seed} npx vitest run --project whole test/exactness`;
    directory = mkdtempSync(join(tmpdir(), "fs-"));
    processes = new Processes(directory);
    const stage = await setStage(processes, directory, {
      volumes: volumes.map((name) => ({ name, bytes: volumeBytes })),
      checkpointInterval: "1s",
    });
    await until("the first checkpoint", 60_000, async () =>
      (await show(stage.env)).checkpoints > 0 ? true : undefined,
    );

    const random = new SeededRandom(seed);
    const uris = new Map(stage.sourceUris.map((uri, index) => [index + 1, uri]));
    const logFile = join(directory, "writes.jsonl");
    const storm = new Storm({ uris, volumeBytes, logFile, random, connectionsPerVolume: 2 });
    storm.start();
    await weather(stage, processes, random, 4);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await storm.stop();
    const quietAt = Date.now();
    await until("a checkpoint that still holds", 60_000, async () =>
      ((await show(stage.env)).newestCheckpoint?.validThrough ?? 0) > quietAt ? true : undefined,
    );
    const listed = await list(stage);
    await processes.stopAll();

    expect(
      await list(stage, "--offline", `${directory}/berlin`).then((rows) => rows.map((row) => row.id)),
      repeat,
    ).toEqual(listed.map((row) => row.id));
    expect(storm.acknowledged, repeat).toBeGreaterThan(200);
    expect(listed.length, repeat).toBeGreaterThan(3);
    for (const checkpoint of listed) {
      const images = new Map<number, Buffer>();
      for (const [index, volume] of volumes.entries())
        images.set(index + 1, await imageOf(stage, checkpoint.id, volume));
      expect(judge(logFile, images, checkpoint.time), `checkpoint ${checkpoint.id}; repeat: ${repeat}`).toEqual([]);
    }
    for (const volume of volumes) {
      const newest = await imageOf(stage, listed[0]?.id ?? "", volume);
      expect(newest.equals(readFileSync(`${directory}/disks/${volume}.img`)), `the newest is the disk; ${repeat}`).toBe(
        true,
      );
    }
    process.stdout.write(
      `exactness, seed ${seed}: ${listed.length} checkpoints judged against ${storm.acknowledged} acknowledged writes\n`,
    );
  });
});
