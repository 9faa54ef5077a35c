import { describe, expect, it } from "vitest";
import { heartbeatSchema } from "#core/api/gateway-api.ts";
import { type Id, newId } from "#core/ids.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { changeVpg, getVpg } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { type ProtectedShop, protectShop } from "../../test/kit/failover-site.ts";
import { listed } from "../../test/kit/listing.ts";
import { noWorkflows, operator } from "../../test/kit/site.ts";
import { decide } from "./decide.ts";
import { endOperation } from "./end-operation.ts";
import { measureLostTail } from "./lost-tail.ts";
import { changeOperation, getOperation } from "./operation-store.ts";
import { retryOperation } from "./retry-operation.ts";
import { startOperation } from "./start-operation.ts";
import { endedStep, stepNames } from "./steps.ts";

/** The shop's site, whose executions are begun and never do anything: the test takes their steps. */
const quietSite = (shop: ProtectedShop): Site => ({
  ...shop.site,
  workflows: { ...noWorkflows, start: async () => undefined },
});

const latest = { kind: "latest" } as const;

async function startTest(site: Site, shop: ProtectedShop): Promise<Id> {
  const requestId = newId(site.clock, site.random);
  await startOperation(site, operator, shop.vpg, { kind: "failover-test", options: { checkpoint: latest }, requestId });
  return requestId;
}

async function startLive(site: Site, shop: ProtectedShop): Promise<Id> {
  const requestId = newId(site.clock, site.random);
  const options = {
    checkpoint: latest,
    shutdown: { policy: "graceful", graceMs: 0 },
    commitPolicy: { action: "none" },
  } as const;
  await startOperation(site, operator, shop.vpg, { kind: "failover-live", options, requestId });
  return requestId;
}

describe("a failed test that is tried again", () => {
  it("is refused where as many are open as a VPG may have, and the VPG stays readable", async () => {
    const shop = await protectShop();
    const site = quietSite(shop);
    const failed = await startTest(site, shop);
    expect(await endOperation(site, failed)).toEqual({ phase: "Failed" });
    for (let count = 0; count < protectionLimits.testsMax; count += 1) await startTest(site, shop);
    await expect(retryOperation(site, operator, failed)).rejects.toMatchObject({ name: "LimitExceeded" });
    expect((await getVpg(site, "shop")).openTests).toHaveLength(protectionLimits.testsMax);
  });
});

describe("a move of a VPG that takes no new batches", () => {
  it.each([
    [{ paused: true }, "ReplicationPaused"],
    [{ journalFull: true }, "JournalFull"],
  ])("is refused before its VMs are shut down: %j", async (change, name) => {
    const shop = await protectShop();
    const site = quietSite(shop);
    await changeVpg(site, shop.vpg.vpgId, () => change);
    const options = { graceMs: 0, commitPolicy: { action: "none" }, source: "keep", verify: false } as const;
    const asked = startOperation(site, operator, shop.vpg, {
      ...{ kind: "move", options, requestId: newId(site.clock, site.random) },
    });
    await expect(asked).rejects.toMatchObject({ name });
    expect((await getVpg(site, "shop")).operationId).toBeNull();
  });
});

describe("a commit whose workflow ended before its work was done", () => {
  it("takes nothing more of the source's session, in the process that knew it as open either", async () => {
    const shop = await protectShop();
    const site = quietSite(shop);
    const operationId = await startLive(site, shop);
    await changeOperation(site, operationId, () => ({
      change: { phase: "BeforeCommit", checkpointId: shop.checkpoints[2] ?? null },
    }));
    await decide(site, operator, operationId, { decision: "commit" });
    await ingestBatch(site, shop.source, shop.stream.checkpoint(Date.UTC(2030, 0, 1, 12, 30)));
    const { vpgId } = shop.vpg;
    const [tail, ...before] = await listed(site, vpgId);
    expect(await endOperation(site, operationId)).toEqual({ phase: "Failed" });
    const late = shop.stream.checkpoint(Date.UTC(2030, 0, 1, 13));
    await expect(ingestBatch(site, shop.source, late)).rejects.toMatchObject({ name: "Fenced" });
    expect(await listed(site, vpgId)).toEqual(before);
    const { checkpoints } = await listCheckpoints(site, vpgId, { lostTail: operationId });
    expect(checkpoints.map(({ id, time }) => `${id} ${time} `)).toEqual([tail]);
  });
});

describe("the lost tail", () => {
  it.each([
    { mode: "replicating", certainty: "exact" },
    { mode: "paused", certainty: "at-least" },
    { mode: "dirty", certainty: "at-least" },
    { mode: "bitmap-sync", certainty: "at-least" },
  ] as const)("of a source that was shut down while $mode is $certainty", async ({ mode, certainty }) => {
    const shop = await protectShop();
    const site = quietSite(shop);
    const operationId = await startLive(site, shop);
    const stopped = endedStep(undefined, site.clock.now(), { state: "done" });
    const operation = await changeOperation(site, operationId, ({ steps }) => ({
      change: {
        checkpointId: shop.checkpoints[2] ?? null,
        sourceWasShutDown: true,
        steps: { ...steps, [stepNames.shutdownSource]: stopped },
      },
    }));
    const { vpgId } = shop.vpg;
    const { session, sequence } = shop.stream;
    const stream = {
      ...{ vpgId, term: 1, session, mode, lastSequence: sequence, acknowledgedSequence: sequence, idle: false },
      ...{ backlogBytes: 0, lagMs: 0, sync: null, writes: 0, writtenBytes: 0, shippedBytes: 0 },
    };
    const processId = newId(site.clock, site.random);
    const heartbeat = { version: "1", sampledAt: 0, processId, attachedOperations: [], streams: [stream] };
    await acceptHeartbeat(site, shop.source, heartbeatSchema.parse(heartbeat));
    expect(await measureLostTail(site, shop.vpg, operation)).toMatchObject({ certainty, writes: 1 });
    expect((await getOperation(site, operationId)).lostTail).toBeNull();
  });
});
