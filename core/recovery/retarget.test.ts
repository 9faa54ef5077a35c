import { afterEach, describe, expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { LiveOptions, Operation } from "#core/protection/operation.ts";
import { leaseOf } from "#core/protection/pins.ts";
import { rebuildTable } from "#core/protection/rebuild.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { protectShop } from "../../test/kit/failover-site.ts";
import { FailoverWorld, operationId, type WorldOptions } from "../../test/kit/failover-world.ts";
import { operator } from "../../test/kit/site.ts";
import { decide } from "./decide.ts";
import { rebuildOperations } from "./rebuild-operations.ts";
import { readReport } from "./report.ts";
import { retarget } from "./retarget.ts";
import { deadlineOf } from "./route.ts";

const hour = 3_600_000;
const request = (number: number): Id => idSchema.parse(`01k3s1te00000000000000r00${number}`);

const worlds: FailoverWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

/** A failover that waits for its decision, at the newest checkpoint, 1-12. */
async function waiting(over: Partial<LiveOptions> = {}, more: Partial<WorldOptions> = {}): Promise<FailoverWorld> {
  const options: LiveOptions = {
    checkpoint: { kind: "latest" },
    shutdown: { policy: "none", graceMs: 0 },
    ...{ commitPolicy: { action: "none" }, ...over },
  };
  const world = new FailoverWorld(await protectShop(), { ask: { kind: "failover-live", options }, ...more });
  worlds.push(world);
  await world.run(async () => (await world.operation())?.tokens["decision"] !== undefined);
  return world;
}

const ask = (world: FailoverWorld, id: string, requestId = request(2)): Promise<Operation> =>
  retarget(world.outside, operator, operationId, { checkpoint: { kind: "id", id }, requestId });

async function pinsOf({ shop }: FailoverWorld): Promise<Record<string, number>> {
  const { checkpoints } = await listCheckpoints(shop.site, shop.vpg.vpgId);
  return Object.fromEntries(checkpoints.map(({ id, pins }) => [id, pins]));
}

async function ownersOf({ shop }: FailoverWorld): Promise<Record<string, readonly string[]>> {
  const { checkpoints } = await listCheckpoints(shop.site, shop.vpg.vpgId);
  return Object.fromEntries(checkpoints.map(({ id, pinOwners }) => [id, pinOwners]).toReversed());
}

const inPhase = (world: FailoverWorld, phase: Operation["phase"]) => async () =>
  (await world.operation())?.phase === phase;

describe("retarget", () => {
  it("pins the new checkpoint with the try and lets the old one go once nothing of it is attached", async () => {
    const world = await waiting();
    expect(await pinsOf(world)).toEqual({ "1-8": 0, "1-10": 0, "1-12": 1 });
    await ask(world, "1-8");
    expect(await pinsOf(world)).toEqual({ "1-8": 1, "1-10": 0, "1-12": 1 });
    expect(world.machines.running.size).toBe(1);
    await world.run(inPhase(world, "BeforeCommit"));
    expect(await world.operation()).toMatchObject({ checkpointId: "1-8", bootGroupsDone: 2, error: null });
    const [{ switchedAt } = { switchedAt: null }] = (await world.operation())?.retargets ?? [];
    expect(await ownersOf(world)).toEqual({
      "1-8": [operationId],
      "1-10": [],
      "1-12": [leaseOf(operationId, (switchedAt ?? 0) + limits.scratchKeptMs)],
    });
  });

  it("keeps both checkpoints for as long as the scratch over each is kept, whatever became of the table", async () => {
    const world = await waiting();
    await ask(world, "1-8");
    await world.run(inPhase(world, "BeforeCommit"));
    await decide(world.outside, operator, operationId, { decision: "rollback" });
    await world.run();
    const { site, vpg } = world.shop;
    const kept = { "1-8": 1, "1-10": 0, "1-12": 1 };
    expect(await pinsOf(world)).toEqual(kept);
    const rebuilt = { ...site, table: new SqliteTable(":memory:") };
    await rebuildTable(rebuilt);
    await rebuildOperations(rebuilt);
    const { checkpoints } = await listCheckpoints(rebuilt, vpg.vpgId);
    expect(checkpoints.map(({ pinOwners }) => pinOwners)).toEqual(Object.values(await ownersOf(world)).toReversed());
    await world.shop.clock.advance(limits.scratchKeptMs);
    expect(await pinsOf(world)).toEqual({ "1-8": 0, "1-10": 0, "1-12": 0 });
  });

  it("is one try however often the same request comes, also after it", async () => {
    const world = await waiting();
    await ask(world, "1-8");
    await ask(world, "1-8");
    await world.run(inPhase(world, "BeforeCommit"));
    expect(await ask(world, "1-8")).toMatchObject({ phase: "BeforeCommit", retargets: [{ number: 2 }] });
  });

  it("refuses what comes while it is under way, by name", async () => {
    const world = await waiting();
    await ask(world, "1-8");
    for (const decision of ["commit", "rollback"] as const) {
      const decided = decide(world.outside, operator, operationId, { decision });
      await expect(decided).rejects.toMatchObject({ name: "NotBeforeCommit", details: { phase: "Retargeting" } });
    }
    await expect(ask(world, "1-10", request(3))).rejects.toMatchObject({ name: "NotBeforeCommit" });
    const { vpgId } = world.shop.vpg;
    const view = await vpgView(world.shop.site, await getVpg(world.shop.site, vpgId));
    expect([view.status, view.substatus]).toEqual(["FailingOver", "None"]);
  });

  it("is refused after a decision, and for a checkpoint that there isn't, and changes nothing", async () => {
    const world = await waiting();
    await expect(ask(world, "1-9")).rejects.toMatchObject({ name: "NoCheckpoint" });
    await decide(world.outside, operator, operationId, { decision: "rollback" });
    await expect(ask(world, "1-8")).rejects.toMatchObject({ name: "AlreadyDecided" });
    expect(await world.operation()).toMatchObject({ retargets: [] });
    expect(await pinsOf(world)).toEqual({ "1-8": 0, "1-10": 0, "1-12": 1 });
  });

  it("is for live failovers only", async () => {
    const world = new FailoverWorld(await protectShop(), {
      ask: { kind: "failover-test", options: { checkpoint: { kind: "latest" } } },
    });
    worlds.push(world);
    await world.run(inPhase(world, "TestRunning"));
    await expect(ask(world, "1-8")).rejects.toMatchObject({
      name: "InvalidInput",
      message: expect.stringContaining("only a live failover"),
    });
  });

  it("is bounded", async () => {
    const world = await waiting();
    for (let number = 0; number < limits.retargetsMax; number += 1) {
      await ask(world, "1-8", idSchema.parse(`01k3s1te00000000000000s0${String(number).padStart(2, "0")}`));
      await world.run(inPhase(world, "BeforeCommit"));
    }
    await expect(ask(world, "1-10")).rejects.toMatchObject({ name: "LimitExceeded" });
  });

  it("that fails is said so, can't be committed, and its report says every try", async () => {
    const world = await waiting(
      {},
      { recovery: { fail: { "attach-volumes": { name: "Corrupt", message: "x", from: 2, to: 2 } } } },
    );
    await ask(world, "1-8");
    await world.run(async () => (await world.operation())?.steps["decision"] !== undefined);
    expect(await world.operation()).toMatchObject({
      ...{ phase: "RetargetFailed", checkpointId: "1-8", error: null },
      retargets: [{ error: { name: "CommandFailed" }, rtoMs: null }],
    });
    const { site, vpg } = world.shop;
    const view = await vpgView(site, await getVpg(site, vpg.vpgId));
    expect([view.status, view.substatus]).toEqual(["FailingOver", "Error"]);
    await expect(decide(world.outside, operator, operationId, { decision: "commit" })).rejects.toMatchObject({
      name: "NotBeforeCommit",
      message: expect.stringContaining("failover retarget"),
    });
    await ask(world, "1-10", request(3));
    await world.run(inPhase(world, "BeforeCommit"));
    await decide(world.outside, operator, operationId, { decision: "commit" });
    await world.run();
    const { retargets, checkpointId } = await readReport(site, vpg.vpgId, operationId);
    expect(checkpointId).toBe("1-10");
    expect(retargets.map(({ number, from, error }) => [number, from.checkpointId, error?.name])).toEqual([
      [2, "1-12", "CommandFailed"],
      [3, "1-8", undefined],
    ]);
    expect(retargets[1]?.rtoMs).toBeGreaterThanOrEqual(7500);
  });
});

describe("the commit policy's time after a retarget", () => {
  it("starts again, within 30 days of the first wait", async () => {
    const world = await waiting({ commitPolicy: { action: "commit", afterMs: hour } });
    const openedAt = (await world.operation())?.steps["decision"]?.startedAt ?? 0;
    await world.shop.clock.advance(hour / 2);
    await ask(world, "1-8");
    await world.run();
    const operation = await world.operation();
    const again = operation?.steps["decision"]?.startedAt ?? 0;
    expect(operation?.steps["mint-term"]?.startedAt).toBeGreaterThanOrEqual(again + hour);
    expect(again).toBeGreaterThan(openedAt + hour / 2);
    if (operation === undefined) throw new Error("no operation");
    expect(deadlineOf(operation, again)).toMatchObject({ at: again + hour, decision: { decision: "commit" } });
    const late = openedAt + limits.commitWaitMsMax - 1;
    expect(deadlineOf(operation, late)).toMatchObject({ at: late + 1, decision: { decision: "commit" } });
    const failed: Operation = { ...operation, phase: "RetargetFailed" };
    expect(deadlineOf(failed, again)).toMatchObject({
      at: openedAt + limits.commitWaitMsMax,
      decision: { decision: "rollback" },
    });
  });
});
