/**
 * A site's process on real files that dies by SIGKILL in the middle of a move, and of a delta-sync, again and again: after one to five
 * transitions of each life, by a seed that is printed. FARSHORE_SEED repeats it.
 */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { getOperation } from "#core/recovery/operation-store.ts";
import { readReport } from "#core/recovery/report.ts";
import { effectsIn, openFolder, smallShop } from "../kit/die-in-a-failover.ts";
import { protectAt, siteOf } from "../kit/failover-site.ts";
import { operationId } from "../kit/failover-world.ts";
import { SeededRandom } from "../kit/seeded-random.ts";
import { type kinds, writeScript } from "./die-in-an-operation.ts";

const script = fileURLToPath(new URL("./die-in-an-operation.ts", import.meta.url));
const seed = Number(process.env["FARSHORE_SEED"] ?? Math.floor(Math.random() * 10_000));
const random = new SeededRandom(seed);

/** Far more lives than an operation has events. */
const livesMax = 300;

describe(`a site's process on real files, killed by SIGKILL again and again, seed ${seed},`, () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "farshore-operation-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  async function prepared(kind: (typeof kinds)[number]): Promise<void> {
    const durable = await openFolder(folder);
    writeScript(folder, kind, await protectAt({ ...durable, clock: new SystemClock() }, smallShop));
    durable.table.close();
  }

  /** Carries the operation to its end; how many lives it took. */
  function liveAndDie(kind: (typeof kinds)[number]): number {
    let lives = 0;
    for (; lives < livesMax; lives += 1) {
      const events = String(1 + random.below(5));
      const { signal, status, stderr } = spawnSync(process.execPath, [script, folder, kind, events], {
        encoding: "utf8",
      });
      if (status === 0) break;
      expect({ signal, stderr }, `FARSHORE_SEED=${seed}`).toEqual({ signal: "SIGKILL", stderr: "" });
    }
    console.info(`${kind}: ${lives} lives ended by SIGKILL, seed ${seed}`);
    return lives;
  }

  it("carries a move to its end, each step done once at its gateway, and proves that nothing is lost", async () => {
    await prepared("move");
    const lives = liveAndDie("move");
    const durable = await openFolder(folder);
    const site = siteOf(durable);
    const operation = await getOperation(site, operationId);
    expect(operation).toMatchObject({ phase: "Completed", error: null, attempt: 1 });
    expect(operation.verdicts).toMatchObject([{ name: "nothing lost", ok: true }]);
    const vpg = await getVpg(site, smallShop.name);
    expect(vpg).toMatchObject({ role: "Runs", term: 2, operationId: null });
    expect(await readReport(site, vpg.vpgId, operationId)).toMatchObject({ phase: "Completed", kind: "move" });
    const steps = [
      ...["shutdown-source", "close-volumes", "verify-volumes", "attach-volumes", "boot-group-1"],
      ...["promote-volumes", "remove-source"],
    ];
    expect(effectsIn(folder)).toEqual(steps.map((step) => `${operationId}.1.${step}`));
    expect((await listCheckpoints(site, vpg.vpgId)).checkpoints.flatMap(({ pinOwners }) => pinOwners)).toEqual([]);
    expect(lives).toBeGreaterThan(10);
    durable.table.close();
  }, 600_000);

  it("carries a delta-sync to its end: its page is compared, and a checkpoint behind it listed", async () => {
    await prepared("delta-sync");
    const lives = liveAndDie("delta-sync");
    const durable = await openFolder(folder);
    const site = siteOf(durable);
    const vpg = await getVpg(site, smallShop.name);
    const newest = (await listCheckpoints(site, vpg.vpgId)).checkpoints[0];
    expect(await getOperation(site, operationId)).toMatchObject({
      ...{ phase: "Completed", error: null, attempt: 1, checkpointId: newest?.id },
      syncFigures: { pages: 1, pagesAlone: 0 },
    });
    expect(vpg).toMatchObject({ role: "Journal", term: 1, operationId: null, syncOperationId: null });
    expect(effectsIn(folder)).toEqual(["hash-volumes", "ship-wanted"].map((step) => `${operationId}.1.${step}`));
    expect(lives).toBeGreaterThan(5);
    durable.table.close();
  }, 600_000);
});
