import { afterEach, describe, expect, it } from "vitest";
import { createVpgSchema, type StartOperation } from "#core/api/site-api.ts";
import type { Id } from "#core/ids.ts";
import { newId } from "#core/ids.ts";
import { decisionKey, definitionKey, termKey } from "#core/journal/keys.ts";
import { jsonBytes } from "#core/json.ts";
import type { Workflows } from "#core/ports.ts";
import { issueCommand } from "#core/protection/commands.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { LiveOptions } from "#core/protection/operation.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { type ProtectedShop, protectShop, shop as shopInput } from "../../test/kit/failover-site.ts";
import { summaryOf } from "../../test/kit/failover-summary.ts";
import { FailoverWorld, operationId, type WorldOptions } from "../../test/kit/failover-world.ts";
import { noWorkflows, operator, protect } from "../../test/kit/site.ts";
import { decide, findDecision } from "./decide.ts";
import { findOperation, getOperation, hasEnded } from "./operation-store.ts";
import { reconcile } from "./reconcile.ts";
import { readReport } from "./report.ts";
import { retryOperation } from "./retry-operation.ts";
import { recordFailure } from "./route.ts";
import { startOperation } from "./start-operation.ts";
import { stepNames } from "./steps.ts";

const options: LiveOptions = {
  checkpoint: { kind: "latest" },
  shutdown: { policy: "none", graceMs: 0 },
  commitPolicy: { action: "none" },
};
const live = (requestId: Id, over: Partial<LiveOptions> = {}): StartOperation => ({
  kind: "failover-live",
  options: { ...options, ...over },
  requestId,
});
const test = (requestId: Id): StartOperation => ({
  kind: "failover-test",
  options: { checkpoint: { kind: "latest" } },
  requestId,
});

/** A site whose workflows only note what was started. */
async function quiet(input = shopInput) {
  const started: string[] = [];
  const workflows: Workflows = {
    ...noWorkflows,
    start: async (machine, name) => {
      started.push(`${machine} ${name}`);
    },
  };
  const shop = await protectShop(input);
  const site: Site = { ...shop.site, workflows };
  const start = async (ask: StartOperation) => startOperation(site, operator, await getVpg(site, shop.vpg.vpgId), ask);
  return { shop, site, started, start, id: () => newId(site.clock, site.random) };
}

const worlds: FailoverWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});
async function worldOf(over: Partial<WorldOptions> = {}, shop?: ProtectedShop): Promise<FailoverWorld> {
  const world = new FailoverWorld(shop ?? (await protectShop()), { ask: { kind: "failover-live", options }, ...over });
  worlds.push(world);
  return world;
}

describe("startOperation", () => {
  it("answers the same request with the same operation, and starts one execution for it", async () => {
    const { start, started, id } = await quiet();
    const requestId = id();
    const first = await start(live(requestId));
    expect(first).toMatchObject({ phase: "Starting", initiatedBy: "operator:ann", attempt: 1, checkpointId: null });
    expect(await start(live(requestId))).toMatchObject({ operationId: requestId, createdAt: first.createdAt });
    expect(new Set(started)).toEqual(new Set([`failover-live ${requestId}.1`]));
    await expect(start(test(requestId))).rejects.toMatchObject({ name: "InvalidInput" });
  });

  it("refuses a second live failover by name, and lets tests run beside it up to their bound", async () => {
    const { start, id, shop } = await quiet();
    const first = id();
    await start(test(id()));
    await start(live(first));
    await expect(start(live(id()))).rejects.toMatchObject({
      name: "OperationInProgress",
      details: { operationId: first },
    });
    for (let open = 1; open < limits.testsMax; open += 1) await start(test(id()));
    await expect(start(test(id()))).rejects.toMatchObject({ name: "LimitExceeded" });
    const vpg = await getVpg(shop.site, shop.vpg.vpgId);
    expect([vpg.operationId, vpg.openTests.length]).toEqual([first, limits.testsMax]);
  });

  it("refuses without a compute provider, and writes nothing", async () => {
    const none = createVpgSchema.parse({ ...shopInput, compute: "none", recoveryGateway: null });
    const { start, id, shop } = await quiet(none);
    await expect(start(live(id()))).rejects.toMatchObject({ name: "ComputeNotConfigured" });
    expect(await getVpg(shop.site, shop.vpg.vpgId)).toMatchObject({ operationId: null, openTests: [] });
  });

  it("refuses at once when there is no such checkpoint", async () => {
    const { start, id, shop, site } = await quiet();
    const tag = { checkpoint: { kind: "tag", tag: "after" } } as const;
    await expect(start(live(id(), tag))).rejects.toMatchObject({ name: "NoCheckpoint" });
    expect((await getVpg(site, shop.vpg.vpgId)).operationId).toBeNull();
    const { vpg: empty } = await protect(site, { ...shopInput, name: "empty" });
    await expect(startOperation(site, operator, empty, live(id()))).rejects.toMatchObject({ name: "NoCheckpoint" });
  });

  it("refuses while the table is behind the bucket, and where the VPG already runs", async () => {
    const { start, id, shop, site } = await quiet();
    const { vpgId } = shop.vpg;
    const item = await site.table.get(items.vpg(vpgId));
    await site.table.transact([{ put: items.vpg(vpgId), fields: { ...item?.fields, role: "Runs" } }]);
    await expect(start(live(id()))).rejects.toMatchObject({ name: "InvalidInput" });
    await site.table.transact([{ put: items.vpg(vpgId), fields: { ...item?.fields } }]);
    const edited = definitionKey(vpgId, shop.vpg.definition.revision + 1);
    await site.objects.put(edited, jsonBytes({}));
    await expect(start(live(id()))).rejects.toMatchObject({ name: "TableBehindBucket" });
    await site.objects.delete(edited);
    const claim = { formatVersion: 1, vpgId, n: 2, minter: site.siteId, runs: site.siteId, journal: null, parent: 1 };
    const body = jsonBytes({ ...claim, fork: [], mintedAt: 1, operationId: id() });
    await site.objects.put(termKey(vpgId, 2, site.siteId), body);
    await expect(start(live(id()))).rejects.toMatchObject({ name: "TableBehindBucket" });
  });
});

describe("decide", () => {
  const commit = (world: FailoverWorld) => decide(world.outside, operator, operationId, { decision: "commit" });
  const rollback = (world: FailoverWorld) => decide(world.outside, operator, operationId, { decision: "rollback" });

  it("is refused before there is something to decide, and by the wrong verb", async () => {
    const world = await worldOf({ recovery: { worksMs: { "attach-volumes": 60_000 } } });
    await world.run(async () => (await world.operation())?.phase === "AttachingVolumes");
    await expect(commit(world)).rejects.toMatchObject({ name: "NotBeforeCommit" });
    const stop = decide(world.outside, operator, operationId, { decision: "stop", success: true, notes: "" });
    await expect(stop).rejects.toMatchObject({ name: "InvalidInput" });
  });

  it("gives the same ask the same answer, another one AlreadyDecided, also after the end", async () => {
    const world = await worldOf();
    await world.run(async () => (await world.operation())?.phase === "BeforeCommit");
    const first = await commit(world);
    expect(await decide(world.outside, { ...operator, name: "bob" }, operationId, { decision: "commit" })).toEqual(
      first,
    );
    await expect(rollback(world)).rejects.toMatchObject({
      name: "AlreadyDecided",
      details: { decision: "commit", by: "operator:ann" },
    });
    await world.run();
    expect(await commit(world)).toEqual(first);
    await expect(rollback(world)).rejects.toMatchObject({ name: "AlreadyDecided" });
  });

  /** What the table has of the operation and its VPG, to be put back later as a restored backup has it. */
  async function backUp({ shop }: FailoverWorld): Promise<() => Promise<void>> {
    const { table } = shop.site;
    const kept = await Promise.all(
      [items.operation(operationId), items.vpg(shop.vpg.vpgId)].map((key) => table.get(key)),
    );
    return async () => {
      const found = kept.flatMap((item) => item ?? []);
      const puts = found.map(({ pk, sk, fields }) => ({ put: { pk, sk }, fields }));
      await table.transact([...puts, { delete: items.decision(operationId) }]);
    };
  }

  it("undoes nothing of a commit that a restored table has not heard of; no failure does either", async () => {
    const world = await worldOf();
    await world.run(async () => (await world.operation())?.phase === "BeforeCommit");
    const restore = await backUp(world);
    await commit(world);
    await world.run(async () => (await world.operation())?.steps[stepNames.sealSessions]?.state === "done");
    await restore();
    await expect(rollback(world)).rejects.toMatchObject({ name: "TableBehindBucket" });
    const failure = recordFailure(world.outside, operationId, { name: "Corrupt", message: "a step of another way" });
    await expect(failure).rejects.toMatchObject({ name: "TableBehindBucket" });
    expect(await commit(world)).toMatchObject({ decision: "commit" });
  });

  it("commits nothing of which an undo began that a restored table has not heard of", async () => {
    const world = await worldOf();
    await world.run(async () => (await world.operation())?.phase === "BeforeCommit");
    const { site, vpg } = world.shop;
    const first = { decision: "rollback", by: "operator:bob", at: 5, success: null, notes: "" };
    await site.objects.put(decisionKey(vpg.vpgId, operationId), jsonBytes(first));
    await expect(commit(world)).rejects.toMatchObject({ name: "AlreadyDecided", details: { decision: "rollback" } });
    expect(await findDecision(world.outside, operationId)).toEqual(first);
  });
});

describe("retryOperation", () => {
  const retry = (site: Site) => retryOperation(site, operator, operationId);
  const hook = { name: "Transient", message: "the hook said no" };
  const again = async (world: FailoverWorld): Promise<void> => {
    world.later({ when: "Failed", act: retry });
    await world.run(async () => (await world.operation())?.attempt === 2 && world.finished());
  };

  it("completes a commit whose promotion failed, and reports on both attempts", async () => {
    const world = await worldOf({
      ask: { kind: "failover-live", options: { ...options, commitPolicy: { action: "commit", afterMs: 0 } } },
      recovery: { fail: { "promote-volumes": { ...hook, to: 1 } } },
    });
    await world.run();
    expect(await summaryOf(world)).toMatchObject({ phase: "Failed", next: "retry", vpg: { role: "Runs" } });
    await again(world);
    expect(await summaryOf(world)).toMatchObject({ phase: "Completed", error: null, pins: [0, 0, 0] });
    const { vpgId } = world.shop.vpg;
    expect(await readReport(world.shop.site, vpgId, operationId)).toMatchObject({ attempt: 2, phase: "Completed" });
    await expect(retry(world.outside)).rejects.toMatchObject({ name: "InvalidInput" });
  });

  it("goes on with an undo that was stuck", async () => {
    const world = await worldOf({
      ask: { kind: "failover-live", options: { ...options, commitPolicy: { action: "rollback", afterMs: 0 } } },
      recovery: { fail: { "stop-vms": { ...hook, to: 1 } } },
    });
    await world.run();
    expect(await summaryOf(world)).toMatchObject({
      phase: "Failed",
      next: "retry",
      machines: { running: ["db", "web"] },
    });
    await again(world);
    expect(await summaryOf(world)).toMatchObject({ phase: "RolledBack", machines: { attached: 0, running: [] } });
  });

  it("keeps saying why an operation failed, also when its undo only ended in the second attempt", async () => {
    const world = await worldOf({
      recovery: { fail: { "boot-vms": hook, "stop-vms": { ...hook, to: 1 } } },
    });
    await world.run();
    expect(await summaryOf(world)).toMatchObject({ phase: "Failed", next: "retry" });
    await again(world);
    expect((await world.operation())?.error).toEqual({
      name: "CommandFailed",
      message:
        "the gateway could not boot-group-1: Transient: the hook said no → everything is undone; " +
        "farshore failover live shop starts again",
    });
  });

  it("is refused while the operation runs, and after it was rolled back", async () => {
    const world = await worldOf();
    await world.run(async () => (await world.operation())?.phase === "BeforeCommit");
    await expect(retry(world.outside)).rejects.toMatchObject({ name: "OperationInProgress" });
    await decide(world.outside, operator, operationId, { decision: "rollback" });
    await world.run();
    await expect(retry(world.outside)).rejects.toMatchObject({ name: "InvalidInput" });
  });
});

describe("reconcile", () => {
  it("starts the execution of an operation that was written and never started", async () => {
    const { start, site, started, id } = await quiet();
    const requestId = id();
    await start(live(requestId));
    started.length = 0;
    expect(await reconcile(site)).toEqual({ [requestId]: "started" });
    expect(started).toEqual([`failover-live ${requestId}.1`]);
  });

  it("wakes a wait whose wake was lost: a decision waits a minute, not a day", async () => {
    const world = await worldOf({ reconcileEveryMs: 60_000 });
    await world.run(async () => (await world.operation())?.tokens["decision"] !== undefined);
    world.loseWakes(1);
    await decide(world.outside, operator, operationId, { decision: "rollback" });
    const before = world.shop.clock.now();
    await world.run();
    expect(await summaryOf(world)).toMatchObject({ phase: "RolledBack" });
    expect(world.shop.clock.now() - before).toBeLessThanOrEqual(120_000);
  });

  it("clears the queues of commands that nobody took up", async () => {
    const { site, shop } = await quiet();
    const { gatewayId } = shop.recovery;
    const body = { kind: "tag-checkpoint", vpgId: shop.vpg.vpgId, tag: "x" } as const;
    await issueCommand(site, gatewayId, { commandId: "a.tag", body, expiresInMs: 1000 });
    await shop.clock.advance(2000);
    await reconcile(site);
    expect((await site.table.query(items.command(gatewayId, "").pk)).items).toEqual([]);
  });
});

describe("several at once", () => {
  it("runs tests beside each other and a live failover beside them", async () => {
    const shop = await protectShop();
    const tests = [newId(shop.clock, shop.site.random), newId(shop.clock, shop.site.random)];
    const world = await worldOf({}, shop);
    await world.run(async () => (await world.operation())?.phase === "BeforeCommit");
    const running = async (phase: string): Promise<boolean> => {
      const found = await Promise.all(tests.map((id) => findOperation(shop.site, id)));
      return found.every((operation) => operation?.phase === phase);
    };
    for (const id of tests) await startOperation(world.outside, operator, shop.vpg, test(id));
    await world.run(() => running("TestRunning"));
    expect((await getVpg(shop.site, shop.vpg.vpgId)).openTests).toEqual(tests);
    expect(world.machines.attached.size).toBe(3);
    await decide(world.outside, operator, operationId, { decision: "commit" });
    await world.run();
    for (const id of tests) {
      await decide(world.outside, operator, id, { decision: "stop", success: true, notes: "" });
    }
    await world.run(async () => (await getOperation(shop.site, tests[1] ?? operationId)).phase === "Completed");
    await world.run(async () => hasEnded(await getOperation(shop.site, tests[0] ?? operationId)));
    expect(await running("Completed")).toBe(true);
    const summary = await summaryOf(world);
    expect(summary).toMatchObject({ phase: "Completed", vpg: { role: "Runs", openTests: [] }, pins: [0, 0, 0] });
    expect(summary.machines).toMatchObject({ attached: 1, violations: [] });
  });
});
