import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import type { CheckpointView } from "#core/api/site-api.ts";
import { offlineCheckpoints } from "../../cli/offline.ts";
import { holdMsMax } from "../../gateway/barrier/limits.ts";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { until } from "../../scripts/demo/stage.ts";
import { offlineImages } from "../kit/offline-images.ts";
import { servedVpg } from "../kit/served-site.ts";
import { cleanUpGateways, type GatewayName, TwoGateways } from "../kit/two-gateways.ts";
import { judge } from "./oracle.ts";
import { Storm } from "./storm.ts";

const volumeBytes = 2 * 2 ** 20;
/** More runs by FARSHORE_SEEDS="1 2 3"; a failure names its seed. */
const seeds = (process.env["FARSHORE_SEEDS"] ?? "1 2").split(" ").map(Number);
/** What the machine and the log may add to a wait. */
const noiseMs = 200;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

cleanUpGateways();

/** Writes to both disks by one client: what it has seen acknowledged on one comes before what it submits to the other. */
function stormOver(stage: TwoGateways, random: SeededRandom): { readonly storm: Storm; readonly logFile: string } {
  const logFile = join(stage.site.directory, "writes.jsonl");
  writeFileSync(logFile, "");
  const uris = new Map([
    [1, stage.uri("paris")],
    [2, stage.uri("lyon")],
  ]);
  const storm = new Storm({ uris, volumeBytes, logFile, random, connectionsPerVolume: 2 });
  storm.start();
  return { storm, logFile };
}

/** What the client's own log says against each listed checkpoint. */
async function judged(stage: TwoGateways, rows: readonly CheckpointView[], logFile: string): Promise<string[]> {
  const image = await offlineImages(stage.site.dataDir, servedVpg);
  const wrong: string[] = [];
  for (const row of rows) {
    const images = new Map([
      [1, await image(row, 1)],
      [2, await image(row, 2)],
    ]);
    wrong.push(...judge(logFile, images, row.time).map((what) => `${row.id}: ${what}`));
  }
  return wrong;
}

/** Gateways killed, and frozen for longer than a hold may last. */
async function weather(stage: TwoGateways, random: SeededRandom): Promise<void> {
  for (const hit of ["freeze", "kill", "freeze", "kill", "freeze"] as const) {
    const since = Date.now();
    await pause(500 + random.below(1500));
    const name: GatewayName = random.below(2) === 0 ? "paris" : "lyon";
    if (hit === "freeze") {
      stage.processes.signal(name, "SIGSTOP");
      await pause(200 + random.below(800));
      stage.processes.signal(name, "SIGCONT");
    } else {
      await stage.processes.stop(name, "SIGKILL");
      stage.run(name, name === "lyon" ? "rough" : "fair", random.below(2 ** 31));
    }
    await stage.checkpoints(2, since);
  }
}

describe("a VPG whose disks are on two gateways: every listed checkpoint against the client's own log", () => {
  it.each(seeds)("barrier messages late, lost and doubled, gateways killed and frozen, seed %i", async (seed) => {
    const repeat = `repeat: FARSHORE_SEEDS=${seed} npx vitest run --project whole test/exactness/several-gateways.test.ts`;
    const random = new SeededRandom(seed);
    const stage = await TwoGateways.start(volumeBytes);
    stage.run("paris");
    stage.run("lyon", "rough", seed);
    const { storm, logFile } = stormOver(stage, random);
    await weather(stage, random);
    await storm.stop();
    await stage.settled(Date.now());

    const listed = await stage.listed();
    const offline = (await offlineCheckpoints(stage.site.dataDir, servedVpg)).checkpoints;
    expect(offline.map(({ id }) => id)).toEqual(listed.map(({ id }) => id));
    expect(await judged(stage, listed, logFile), repeat).toEqual([]);
    const [newest] = listed;
    if (newest === undefined) throw new Error(repeat);
    const image = await offlineImages(stage.site.dataDir, servedVpg);
    for (const [volume, disk] of stage.diskImages()) {
      expect((await image(newest, volume)).equals(disk), `volume ${volume} at the end; ${repeat}`).toBe(true);
    }
    expect(storm.acknowledged, repeat).toBeGreaterThan(200);
    process.stdout.write(
      `several gateways, seed ${seed}: ${listed.length} checkpoints judged against ${storm.acknowledged} acknowledged writes\n`,
    );
  });

  it("the judge finds out a gateway that tells another position than the one it held", async () => {
    const stage = await TwoGateways.start(volumeBytes);
    stage.run("paris");
    stage.run("lyon", "stale");
    const { storm, logFile } = stormOver(stage, new SeededRandom(7));
    await stage.checkpoints(5, Date.now());
    await storm.stop();
    expect(await judged(stage, await stage.listed(), logFile)).not.toEqual([]);
  });

  it("a coordinator that never releases delays no write beyond the bound, makes no checkpoint, and is told of", async () => {
    const stage = await TwoGateways.start(volumeBytes);
    stage.run("paris");
    stage.run("lyon", "hang");
    await until("a barrier that fails", 60_000, async () =>
      (await stage.site.vpg()).barrierProblem?.includes("did not answer the release") ? true : undefined,
    );
    const { address, exportName } = parseNbdUri(stage.uri("lyon"));
    const client = await NbdClient.connect(address, exportName);
    const waits: number[] = [];
    const end = Date.now() + 4000;
    while (Date.now() < end) {
      const began = performance.now();
      await client.write(0, Buffer.alloc(512, 1));
      waits.push(performance.now() - began);
    }
    await client.disconnect();
    const longest = Math.max(...waits);
    // It was held: else this would show nothing.
    expect(longest).toBeGreaterThan(holdMsMax / 2);
    expect(longest).toBeLessThan(holdMsMax + noiseMs);
    expect(await stage.listed()).toEqual([]);
    const view = await stage.site.vpg();
    expect(view.barrierProblem).toContain("lyon-gw");
    expect(view.sources?.map(({ gateway, connected }) => [gateway, connected])).toEqual([
      ["paris-gw", true],
      ["lyon-gw", true],
    ]);
    expect(readFileSync(join(stage.site.directory, "paris.log"), "utf8")).toContain("barrier.failed");
  });
});
