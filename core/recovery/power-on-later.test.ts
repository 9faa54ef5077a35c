import { afterEach, describe, expect, it } from "vitest";
import { newId } from "#core/ids.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { findCommand } from "#core/protection/commands.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { LiveOptions, Operation } from "#core/protection/operation.ts";
import { changeVpg, getVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { protectShop } from "../../test/kit/failover-site.ts";
import { FailoverWorld, operationId, type WorldOptions } from "../../test/kit/failover-world.ts";
import type { Behaviour, Kind } from "../../test/kit/recording-gateway.ts";
import { operator } from "../../test/kit/site.ts";
import { decide } from "./decide.ts";
import { reconcile } from "./reconcile.ts";
import { readReport } from "./report.ts";
import { startOperation } from "./start-operation.ts";

const options: LiveOptions = {
  checkpoint: { kind: "latest" },
  shutdown: { policy: "graceful", graceMs: 1000 },
  commitPolicy: { action: "none" },
};

/** The source's gateway, as reachable as `silent` says at the moment. */
class Source implements Behaviour {
  silent: readonly Kind[] | "all" = [];
  fail: NonNullable<Behaviour["fail"]> = {};
}

const worlds: FailoverWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

const move = {
  kind: "move",
  options: { graceMs: 1000, commitPolicy: { action: "none" }, source: "keep", verify: false },
} as const;

/** A failover or move that shut the source down; then the source fell silent, and it was rolled back. */
async function rolledBack(
  ask: WorldOptions["ask"] = { kind: "failover-live", options },
): Promise<{ readonly world: FailoverWorld; readonly source: Source }> {
  const source = new Source();
  const world = new FailoverWorld(await protectShop(), { ask, source });
  worlds.push(world);
  await world.run(async () => (await world.operation())?.tokens["decision"] !== undefined);
  source.silent = "all";
  await world.shop.clock.advance(60_000);
  await decide(world.outside, operator, operationId, { decision: "rollback" });
  await world.run();
  return { world, source };
}

async function viewOf({ shop }: FailoverWorld) {
  return vpgView(shop.site, await getVpg(shop.site, shop.vpg.vpgId));
}

async function minutes(world: FailoverWorld, count: number): Promise<void> {
  for (let minute = 0; minute < count; minute += 1) await world.idleMinute();
}

describe("a rollback that finds the source silent", () => {
  it("ends at once, and leaves protection as it was, but for the source that is gone", async () => {
    const { world } = await rolledBack();
    const operation = await world.operation();
    expect(operation).toMatchObject({
      ...{ phase: "RolledBack", error: null, sourceLeftOff: true },
      steps: { "power-on-source": { state: "skipped", result: expect.stringContaining("heard again") } },
    });
    const view = await viewOf(world);
    expect([view.status, view.substatus]).toEqual(["NotMeetingSLA", "DisconnectedFromPeer"]);
    expect(view).toMatchObject({ operationId: null, role: "Journal", powerOnDue: [operationId] });
    const { checkpoints } = await listCheckpoints(world.shop.site, world.shop.vpg.vpgId);
    expect(checkpoints.map(({ id }) => id)).toEqual(["1-12", "1-10", "1-8"]);
    expect(world.machines).toMatchObject({ sourceRuns: false });
    const { steps } = await readReport(world.shop.site, world.shop.vpg.vpgId, operationId);
    expect(steps.find(({ step }) => step === "power-on-source")?.result).toContain("a person has to");
  });

  it("lets a new failover start at any checkpoint", async () => {
    const { world } = await rolledBack();
    const { site, vpg, checkpoints } = world.shop;
    const requestId = vpg.vpgId;
    const again = { ...options, shutdown: { policy: "force" as const, graceMs: 0 } };
    const checkpoint = { kind: "id" as const, id: checkpoints[0] ?? "" };
    const ask = { kind: "failover-live" as const, options: { ...again, checkpoint }, requestId };
    const started: Operation = await startOperation(world.outside, operator, await getVpg(site, vpg.vpgId), ask);
    expect(started).toMatchObject({ checkpointId: "1-8", phase: "Starting" });
    // While it is open nothing is powered on beside what it recovers.
    await reconcile(world.outside);
    expect([...world.machines.effects.keys()].some((id) => id.includes("later"))).toBe(false);
  });
});

describe("when the source is heard again", () => {
  it("its VMs are powered on, once, and nothing is due any more", async () => {
    const { world, source } = await rolledBack();
    await minutes(world, 2);
    expect(world.machines.sourceRuns).toBe(false);
    source.silent = [];
    await minutes(world, 3);
    expect(world.machines).toMatchObject({ sourceRuns: true, violations: [] });
    expect((await viewOf(world)).powerOnDue).toBeUndefined();
    const asked = [...world.machines.effects].filter(([id]) => id.includes("later"));
    expect(asked.map(([, times]) => times)).toEqual([1]);
  });

  it("nothing is powered on beside a later failover that failed with its volumes attached", async () => {
    const { world, source } = await rolledBack();
    const { site, vpg } = world.shop;
    const requestId = newId(world.shop.clock, site.random);
    const ask = { kind: "failover-live" as const, options, requestId };
    await startOperation(world.outside, operator, await getVpg(site, vpg.vpgId), ask);
    const standing = { operationId: requestId, kind: "failover-live", attempt: 1, startedAt: 0 } as const;
    await changeVpg(site, vpg.vpgId, () => ({
      operationId: null,
      forgotten: [{ ...standing, known: true, failed: true }],
    }));
    source.silent = [];
    await minutes(world, 3);
    expect(world.machines.sourceRuns).toBe(false);
    expect((await viewOf(world)).powerOnDue).toEqual([operationId]);
  });

  it("after a move, its volumes are opened and its VMs powered on", async () => {
    const { world, source } = await rolledBack(move);
    expect(await world.operation()).toMatchObject({
      ...{ phase: "RolledBack", error: null, sourceLeftOff: true },
      steps: { "open-volumes": { state: "skipped" }, "power-on-source": { state: "skipped" } },
    });
    expect(world.machines).toMatchObject({ sourceRuns: false, closedBy: operationId });
    source.silent = [];
    await minutes(world, 3);
    expect(world.machines).toMatchObject({ sourceRuns: true, closedBy: undefined, violations: [] });
  });

  it("and its hook fails, it is asked again, a bounded number of times, and still said to be off", async () => {
    const { world, source } = await rolledBack();
    source.fail = { "power-on-source": { name: "CommandFailed", message: "no", to: 2 } };
    source.silent = [];
    await minutes(world, 2);
    expect((await viewOf(world)).powerOnDue).toEqual([operationId]);
    expect(world.machines.sourceRuns).toBe(false);
    await minutes(world, 2);
    expect(world.machines.sourceRuns).toBe(true);
    expect((await viewOf(world)).powerOnDue).toBeUndefined();
  });

  it("and its hook never works, it is asked a bounded number of times, and said to be off", async () => {
    const { world, source } = await rolledBack();
    source.fail = { "power-on-source": { name: "CommandFailed", message: "no" } };
    source.silent = [];
    await minutes(world, limits.powerOnTriesMax + 5);
    const { site, source: gateway } = world.shop;
    const number = (last: number) => `${operationId}.later-${last}.power-on-source.${gateway.gatewayId}`;
    expect(await findCommand(site, number(limits.powerOnTriesMax))).toMatchObject({ state: "failed" });
    expect(await findCommand(site, number(limits.powerOnTriesMax + 1))).toBeUndefined();
    expect((await viewOf(world)).powerOnDue).toEqual([operationId]);
  });
});
