import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { cleanUpStages, settled, type WholeStage, wholeStage } from "../kit/whole-stage.ts";
import { judge } from "./oracle.ts";
import { Storm } from "./storm.ts";

const volumeBytes = 4 * 2 ** 20;
const volumes = ["one", "two"] as const;
/** More runs by FARSHORE_SEEDS="1 2 3"; a failure names its seed. */
const seeds = (process.env["FARSHORE_SEEDS"] ?? "1 2").split(" ").map(Number);

cleanUpStages();

/** Kills the gateway and the site at random moments and starts them again, while the storm blows. */
async function weather({ processes, restart }: WholeStage, random: SeededRandom, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1500 + random.below(2000)));
    const hit = random.below(3);
    if (hit !== 0) await processes.stop("gateway-paris", "SIGKILL");
    if (hit !== 1) await processes.stop("site-berlin", "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, random.below(500)));
    if (hit !== 1) restart.site();
    if (hit !== 0) restart.source();
  }
}

describe("exactness: every listed checkpoint against the client's own log, with gateway and site killed at random", () => {
  it.each(seeds)("seed %i", async (seed) => {
    const repeat = `repeat: FARSHORE_SEEDS=${seed} npx vitest run --project whole test/exactness`;
    const stage = await wholeStage({
      volumes: volumes.map((name) => ({ name, bytes: volumeBytes })),
      checkpointInterval: "1s",
    });
    const random = new SeededRandom(seed);
    const uris = new Map(stage.sourceUris.map((uri, index) => [index + 1, uri]));
    const logFile = join(stage.directory, "writes.jsonl");
    const storm = new Storm({ uris, volumeBytes, logFile, random, connectionsPerVolume: 2 });
    storm.start();
    await weather(stage, random, 4);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await storm.stop();
    await settled(stage);
    const listed = await stage.list();
    await stage.processes.stopAll();

    const offline = await stage.list("--offline", `${stage.directory}/berlin`);
    expect(
      offline.map((row) => row.id),
      repeat,
    ).toEqual(listed.map((row) => row.id));
    expect(storm.acknowledged, repeat).toBeGreaterThan(200);
    expect(listed.length, repeat).toBeGreaterThan(3);
    for (const checkpoint of listed) {
      const images = new Map<number, Buffer>();
      for (const [index, volume] of volumes.entries()) images.set(index + 1, await stage.image(checkpoint.id, volume));
      expect(judge(logFile, images, checkpoint.time), `checkpoint ${checkpoint.id}; ${repeat}`).toEqual([]);
    }
    for (const volume of volumes) {
      const newest = await stage.image(listed[0]?.id ?? "", volume);
      expect(newest.equals(readFileSync(`${stage.directory}/disks/${volume}.img`)), repeat).toBe(true);
    }
    process.stdout.write(
      `exactness, seed ${seed}: ${listed.length} checkpoints judged against ${storm.acknowledged} acknowledged writes\n`,
    );
  });
});
