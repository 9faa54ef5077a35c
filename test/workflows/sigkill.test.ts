import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import type { OperationKind } from "#core/protection/operation.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { getOperation } from "#core/recovery/operation-store.ts";
import { readReport } from "#core/recovery/report.ts";
import { effectsFile, effectsIn, openFolder, smallShop } from "../kit/die-in-a-failover.ts";
import { protectAt, siteOf } from "../kit/failover-site.ts";
import { operationId } from "../kit/failover-world.ts";
import { repeatOf, seed, sweepsAll } from "./sample.ts";

const script = fileURLToPath(new URL("../kit/die-in-a-failover.ts", import.meta.url));

/** Far more lives than a committed failover has events. */
const livesMax = 300;

/** A life ends after so many transitions: one by one takes a minute and more. The first is shorter by a seed, so that each has its turn. */
const stride = sweepsAll ? 1 : 3;
const repeat = repeatOf("test/workflows/sigkill.test.ts");

describe("a site's process on real files", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "farshore-failover-"));
    const durable = await openFolder(folder);
    await protectAt(durable, smallShop);
    durable.table.close();
    await writeFile(effectsFile(folder), "");
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  /** Carries the operation to its end, life by life. */
  function liveAndDie(kind: OperationKind): number {
    let lives = 0;
    for (; lives < livesMax; lives += 1) {
      const events = lives === 0 ? 1 + (seed % stride) : stride;
      const life = [script, folder, kind, String(events)];
      const { signal, status, stderr } = spawnSync(process.execPath, life, { encoding: "utf8" });
      if (status === 0) break;
      expect({ signal, stderr }, `repeat: ${repeat}`).toEqual({ signal: "SIGKILL", stderr: "" });
    }
    console.info(`${kind}: ${lives} lives ended by SIGKILL: ${repeat}`);
    return lives;
  }

  it("that is killed by SIGKILL again and again, after any transition, carries the failover to its end", async () => {
    const lives = liveAndDie("failover-live");
    const durable = await openFolder(folder);
    const site = siteOf(durable);
    const operation = await getOperation(site, operationId);
    expect(operation).toMatchObject({ phase: "Completed", error: null, attempt: 1 });
    const vpg = await getVpg(site, smallShop.name);
    expect(vpg).toMatchObject({ role: "Runs", term: 2, operationId: null });
    expect(await readReport(site, vpg.vpgId, operationId)).toMatchObject({ phase: "Completed" });
    expect((await listCheckpoints(site, vpg.vpgId)).checkpoints.map(({ pins }) => pins)).toEqual([0, 0, 0]);
    const steps = ["attach-volumes", "boot-group-1", "promote-volumes"];
    expect(effectsIn(folder)).toEqual(steps.map((step) => `${operationId}.1.${step}`));
    expect(lives * stride).toBeGreaterThan(40);
    durable.table.close();
  }, 600_000);

  it("and a test of one, which it leaves nothing behind of but its report and tag", async () => {
    const lives = liveAndDie("failover-test");
    const durable = await openFolder(folder);
    const site = siteOf(durable);
    expect(await getOperation(site, operationId)).toMatchObject({ phase: "Completed", error: null, attempt: 1 });
    const vpg = await getVpg(site, smallShop.name);
    expect(vpg).toMatchObject({ role: "Journal", term: 1, operationId: null, openTests: [] });
    expect(await readReport(site, vpg.vpgId, operationId)).toMatchObject({ phase: "Completed", kind: "failover-test" });
    expect((await listCheckpoints(site, vpg.vpgId)).checkpoints.map(({ pins }) => pins)).toEqual([0, 0, 0]);
    const steps = ["attach-volumes", "boot-group-1", "stop-vms", "detach-volumes"];
    expect(effectsIn(folder)).toEqual(steps.map((step) => `${operationId}.1.${step}`));
    expect(lives * stride).toBeGreaterThan(30);
    durable.table.close();
  }, 600_000);
});
