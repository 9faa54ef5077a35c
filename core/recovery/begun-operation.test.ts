import { afterEach, describe, expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { newId } from "#core/ids.ts";
import { operationKey } from "#core/journal/keys.ts";
import { jsonBytes, tableFields } from "#core/json.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { findCommand } from "#core/protection/commands.ts";
import { askedFor } from "#core/protection/definition-input.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import { editVpg } from "#core/protection/edit-vpg.ts";
import { failoverCheck } from "#core/protection/failover-check.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { openSession } from "#core/protection/open-session.ts";
import type { LiveOptions, Phase } from "#core/protection/operation.ts";
import { rebuildTable } from "#core/protection/rebuild.ts";
import { assertTableCurrent } from "#core/protection/terms.ts";
import { getVpg, updateVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { collectJournal } from "#core/retention/collect.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import { purgeDeletedVpgs } from "#core/retention/purge-deleted.ts";
import { retainJournal } from "#core/retention/retain.ts";
import type { Site } from "#core/site.ts";
import { protectShop, shop as shopInput, siteOf } from "../../test/kit/failover-site.ts";
import { type Deed, FailoverWorld, operationId, type WorldOptions } from "../../test/kit/failover-world.ts";
import type { Behaviour, Kind } from "../../test/kit/recording-gateway.ts";
import { noWorkflows, openAsk, operator } from "../../test/kit/site.ts";
import { forgetOperation } from "./begun-operation.ts";
import { decide } from "./decide.ts";
import { powerOnLater } from "./power-on-later.ts";
import { rebuildOperations } from "./rebuild-operations.ts";
import { retryOperation } from "./retry-operation.ts";
import { noteBegan } from "./site-began.ts";
import { siteStatus } from "./site-status.ts";
import { startOperation } from "./start-operation.ts";

const options: LiveOptions = {
  checkpoint: { kind: "latest" },
  shutdown: { policy: "force", graceMs: 1000 },
  commitPolicy: { action: "none" },
};
const failover = { kind: "failover-live", options } as const;
const move = {
  kind: "move",
  options: { graceMs: 1000, commitPolicy: { action: "none" }, source: "keep", verify: false },
} as const;
const commit: Deed = {
  when: "BeforeCommit",
  act: (site) => decide(site, operator, operationId, { decision: "commit" }),
};
const rollback: Deed = {
  when: "BeforeCommit",
  act: (site) => decide(site, operator, operationId, { decision: "rollback" }),
};

/** A recovery gateway that can't stop VMs, and later says nothing of it. */
class Recovery implements Behaviour {
  readonly fail = { "stop-vms": { name: "CommandFailed", message: "no" } };
  silent: readonly Kind[] = [];
}

const worlds: FailoverWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

/** An operation that came so far, or to its end. */
async function cameTo(phase: Phase | "its end", more: Partial<WorldOptions> = {}): Promise<FailoverWorld> {
  const retention = {
    tiers: [{ everyMs: 0, forMs: 60_000 }],
    taggedMs: 60_000,
  };
  const world = new FailoverWorld(await protectShop({ ...shopInput, retention }), { ask: failover, ...more });
  worlds.push(world);
  await world.run(phase === "its end" ? undefined : async () => (await world.operation())?.phase === phase);
  return world;
}

/** The site as a rebuild makes it of the bucket alone. */
async function rebuiltOf({ shop: { objects, clock } }: FailoverWorld): Promise<Site> {
  const workflows = { ...noWorkflows, start: async () => undefined, describe: async () => undefined };
  const site = { ...siteOf({ objects, table: new SqliteTable(":memory:"), clock }), workflows };
  await rebuildTable(site);
  await rebuildOperations(site);
  return site;
}

async function heard(site: Site, world: FailoverWorld, attachedOperations: readonly string[]): Promise<void> {
  const facts = { lastSeenAt: site.clock.now(), skewMs: 0, version: "1", processId: operationId, streams: [] };
  for (const { gatewayId } of [world.shop.source, world.shop.recovery]) {
    const fields = tableFields({ ...facts, attachedOperations });
    await site.table.transact([{ put: items.gateway(gatewayId), fields }]);
  }
}

const everyVolume = shopInput.vms.flatMap((vm) =>
  vm.volumes.map(({ name, sizeBytes, sectorBytes }) => ({ vmName: vm.name, name, sizeBytes, sectorBytes })),
);
const forgottenIn = async (site: Site) => (await getVpg(site, "shop")).forgotten;
const inProgress = { name: "OperationInProgress" };

describe("a table of before the failover began", () => {
  it("opens and starts nothing and lets nothing age, until it is made again of the bucket", async () => {
    const world = await cameTo("BeforeCommit");
    const { objects, clock, source, vpg } = world.shop;
    const site = siteOf({ objects, table: new SqliteTable(":memory:"), clock });
    // Without its operations: the table is as one that was restored.
    await rebuildTable(site);
    const record = await getVpg(site, "shop");
    const behind = { name: "TableBehindBucket", message: expect.stringContaining(operationId) };
    const requestId = newId(site.clock, site.random);
    await expect(startOperation(site, operator, record, { ...failover, requestId })).rejects.toMatchObject(behind);
    await expect(openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1 }))).rejects.toMatchObject(behind);
    expect((await failoverCheck(site, record)).items.find(({ what }) => what === "table")?.state).toBe("blocked");
    await clock.advance(2 * retentionLimits.thinEveryMs);
    await heard(site, world, []);
    expect(await retainJournal(site, record)).toMatchObject({ waits: "table-behind-bucket" });
    expect(await collectJournal(site, record)).toBeUndefined();
    const rebuilt = await rebuiltOf(world);
    await assertTableCurrent(rebuilt, await getVpg(rebuilt, "shop"));
    await forgetOperation(rebuilt, operator, operationId);
    await assertTableCurrent(rebuilt, await getVpg(rebuilt, "shop"));
  });

  it("is told from one that knows the operation, whether it is open or has ended, and of which attempt", async () => {
    const own = ({ shop: { objects, table, clock } }: FailoverWorld) => siteOf({ objects, table, clock });
    const open = own(await cameTo("BeforeCommit"));
    await assertTableCurrent(open, await getVpg(open, "shop"));
    const ended = await cameTo("its end", { deeds: [rollback] });
    const site = own(ended);
    const record = await getVpg(site, "shop");
    await assertTableCurrent(site, record);
    await assertTableCurrent(await rebuiltOf(ended), record);
    await ended.shop.objects.put(operationKey(record.vpgId, operationId, 2), jsonBytes({}));
    await expect(assertTableCurrent(site, record)).rejects.toMatchObject({ name: "TableBehindBucket" });
  });
});

describe("a rebuild while a failover waits for its decision", () => {
  it("lets nothing begin that could bring up a second copy, and says what to do", async () => {
    const site = await rebuiltOf(await cameTo("BeforeCommit"));
    const vpg = await getVpg(site, "shop");
    expect(vpg).toMatchObject({
      ...{ role: "Journal", operationId: null },
      forgotten: [{ operationId, kind: "failover-live", attempt: 1, known: false }],
    });
    const requestId = newId(site.clock, site.random);
    await expect(startOperation(site, operator, vpg, { ...failover, requestId })).rejects.toMatchObject(inProgress);
    await expect(startOperation(site, operator, vpg, { ...move, requestId })).rejects.toMatchObject(inProgress);
    await expect(deleteVpg(site, operator, "shop")).rejects.toMatchObject(inProgress);
    const { definition, revision } = { definition: askedFor(vpg.definition), revision: vpg.definition.revision };
    const edit = { definition: { ...definition, targetRpoMs: 60_000 }, revision, dryRun: true };
    await expect(editVpg(site, operator, "shop", edit)).rejects.toMatchObject(inProgress);
    const { items: lines } = await failoverCheck(site, vpg);
    expect(lines.find(({ what }) => what === "operation")).toMatchObject({ state: "blocked" });
    const { alerts } = await siteStatus(site);
    expect(alerts.find(({ alertId }) => alertId === "operation-forgotten:shop")?.text).toContain(
      `farshore operation forget ${operationId}`,
    );
    const test = { kind: "failover-test", options: { checkpoint: { kind: "latest" } }, requestId } as const;
    expect(await startOperation(site, operator, vpg, test)).toMatchObject({ phase: "Starting" });
  });

  it("grants no source that starts its disks, and powers none on", async () => {
    const world = await cameTo("BeforeCommit");
    const site = await rebuiltOf(world);
    const { source, vpg } = world.shop;
    const ask = openAsk(site, vpg.vpgId, { volumes: everyVolume, lastSession: 1 });
    await expect(openSession(site, source, ask)).rejects.toMatchObject({ name: "RunGrantRefused" });
    await heard(site, world, []);
    const due = newId(site.clock, site.random);
    await powerOnLater(site, await updateVpg(site, await getVpg(site, "shop"), { powerOnDue: [due] }));
    const commandId = `${due}.later-1.power-on-source.${source.gatewayId}`;
    expect(await findCommand(site, commandId)).toBeUndefined();
    await forgetOperation(site, operator, operationId);
    await powerOnLater(site, await getVpg(site, "shop"));
    expect(await findCommand(site, commandId)).toBeDefined();
    expect(await openSession(site, source, ask)).toMatchObject({ session: 2 });
  });

  it("lets no checkpoint go, and nothing of the journal", async () => {
    const world = await cameTo("BeforeCommit");
    const site = await rebuiltOf(world);
    await world.shop.clock.advance(2 * retentionLimits.thinEveryMs);
    await heard(site, world, []);
    const vpg = () => getVpg(site, "shop");
    expect(await retainJournal(site, await vpg())).toMatchObject({ waits: "operation-forgotten" });
    expect(await collectJournal(site, await vpg())).toBeUndefined();
    await forgetOperation(site, operator, operationId);
    expect(await retainJournal(site, await vpg())).toMatchObject({ waits: null });
  });

  it("keeps the journal also of a VPG that was deleted by a table that knew no better", async () => {
    const world = await cameTo("BeforeCommit");
    const { objects, clock, vpg } = world.shop;
    const unaware = siteOf({ objects, table: new SqliteTable(":memory:"), clock });
    await rebuildTable(unaware);
    await deleteVpg(unaware, operator, "shop");
    const site = await rebuiltOf(world);
    const collect = async () => {
      for (let gone = 0; gone <= retentionLimits.deletedKeptMs; gone += retentionLimits.deletedLookMsMax) {
        await purgeDeletedVpgs(site, Number.POSITIVE_INFINITY);
        await clock.advance(retentionLimits.deletedLookMsMax);
      }
      await purgeDeletedVpgs(site, Number.POSITIVE_INFINITY);
      return (await objects.list(`journal/${vpg.vpgId}/`)).length;
    };
    expect(await collect()).toBeGreaterThan(1);
    await forgetOperation(site, operator, operationId);
    // The seal.
    expect(await collect()).toBe(1);
  });

  it("is over once a person has looked, also after another rebuild, but not while its gateway shows it", async () => {
    const world = await cameTo("BeforeCommit");
    const site = await rebuiltOf(world);
    await heard(site, world, [operationId]);
    const forget = () => forgetOperation(site, operator, operationId);
    await expect(forget()).rejects.toMatchObject({ name: "InvalidInput" });
    await world.shop.clock.advance(2 * protectionLimits.heartbeatSilenceMs);
    await noteBegan(site);
    await expect(forget()).rejects.toMatchObject({ name: "Transient" });
    await heard(site, world, []);
    expect(await forget()).toMatchObject({ forgotten: [] });
    await expect(forget()).rejects.toMatchObject({ name: "InvalidInput" });
    await expect(forgetOperation(site, operator, newId(site.clock, site.random))).rejects.toMatchObject({
      name: "NotFound",
    });
    expect(await forgottenIn(await rebuiltOf(world))).toEqual([]);
  });
});

describe("a failover that could not be undone to its end", () => {
  it("holds its VPG and keeps the source from its disks, until a person has looked", async () => {
    const world = await cameTo("its end", { deeds: [rollback], recovery: new Recovery() });
    const { site, source, recovery, vpg } = world.shop;
    expect(await world.operation()).toMatchObject({ phase: "Failed", steps: { "stop-vms": { state: "failed" } } });
    const held = await getVpg(site, "shop");
    expect(held).toMatchObject({ role: "Journal", operationId: null, forgotten: [{ operationId, failed: true }] });
    const ask = openAsk(site, vpg.vpgId, { volumes: everyVolume, lastSession: 1 });
    await expect(openSession(site, source, ask)).rejects.toMatchObject({ name: "RunGrantRefused" });
    const again = { ...failover, requestId: newId(site.clock, site.random) };
    await expect(startOperation(site, operator, held, again)).rejects.toThrow(
      `farshore operation retry ${operationId}`,
    );
    const { alerts } = await siteStatus(site);
    expect(alerts.find(({ alertId }) => alertId === "operation-failed:shop")?.text).toContain("may run");
    // Its pin is enough: what it doesn't read may go.
    await world.shop.clock.advance(2 * retentionLimits.thinEveryMs);
    await heard(site, world, [operationId]);
    expect(await retainJournal(site, await getVpg(site, "shop"))).toMatchObject({ waits: null });
    await expect(forgetOperation(site, operator, operationId)).rejects.toThrow(recovery.name ?? "");
    await heard(site, world, []);
    expect(await forgetOperation(site, operator, operationId)).toMatchObject({ forgotten: [] });
    const rebuilt = await rebuiltOf(world);
    for (const each of [site, rebuilt]) {
      const { checkpoints } = await listCheckpoints(each, vpg.vpgId);
      expect(checkpoints.filter(({ pinOwners }) => pinOwners.length > 0)).toEqual([]);
    }
    await expect(retryOperation(site, operator, operationId)).rejects.toThrow("declared to be over");
    expect(await forgottenIn(rebuilt)).toEqual([]);
    expect(await openSession(site, source, ask)).toMatchObject({ session: 2 });
  });
});

describe("a rebuild", () => {
  it("lets go of a move once it is gone on with", async () => {
    const site = await rebuiltOf(await cameTo("BeforeCommit", { ask: move }));
    const vpg = await getVpg(site, "shop");
    expect((await vpgView(site, vpg)).operationForgotten).toContain("farshore move resume shop");
    await startOperation(site, operator, vpg, { ...move, requestId: operationId });
    expect(await getVpg(site, "shop")).toMatchObject({ operationId, forgotten: [] });
  });

  it("while a commit is carried out keeps the VPG from deletion and reverse protection", async () => {
    const world = await cameTo("Promoting", { deeds: [commit], recovery: { silent: ["promote-volumes"] } });
    const site = await rebuiltOf(world);
    const vpg = await getVpg(site, "shop");
    expect(vpg).toMatchObject({ role: "Runs", forgotten: [{ operationId }] });
    await expect(deleteVpg(site, operator, "shop")).rejects.toMatchObject(inProgress);
    const requestId = newId(site.clock, site.random);
    const reverse = { kind: "reverse-protection", options: { gatewayLost: false, force: false }, requestId } as const;
    await expect(startOperation(site, operator, vpg, reverse)).rejects.toMatchObject(inProgress);
    // Promoted volumes are exported for good.
    await heard(site, world, [operationId]);
    await forgetOperation(site, operator, operationId);
    await deleteVpg(site, operator, "shop");
  });

  it.each([
    ["committed", commit, "Completed"],
    ["rolled back", rollback, "RolledBack"],
  ] as const)("forgets nothing of one that was %s", async (_, deed, phase) => {
    const world = await cameTo("its end", { deeds: [deed] });
    expect(await world.operation()).toMatchObject({ phase });
    expect(await forgottenIn(await rebuiltOf(world))).toEqual([]);
  });

  it("holds the VPG by an attempt that failed, and by a later one that was under way", async () => {
    const recovery = new Recovery();
    const world = await cameTo("its end", { deeds: [rollback], recovery });
    const failed = await forgottenIn(world.shop.site);
    expect(failed).toMatchObject([{ operationId, attempt: 1, failed: true }]);
    expect(await forgottenIn(await rebuiltOf(world))).toEqual(failed);
    recovery.silent = ["stop-vms"];
    await retryOperation(world.outside, operator, operationId);
    await world.run(async () => (await world.operation())?.phase === "RollingBack");
    const site = await rebuiltOf(world);
    const begun = { operationId, kind: "failover-live", attempt: 2, startedAt: expect.any(Number), known: true };
    expect(await forgottenIn(site)).toEqual([begun]);
    const vpg = await getVpg(site, "shop");
    expect((await vpgView(site, vpg)).operationForgotten).toContain(`farshore operation retry ${operationId}`);
    await retryOperation(site, operator, operationId);
    expect(await getVpg(site, "shop")).toMatchObject({ operationId, forgotten: [] });
  });

  it("knows nothing of a test, which brings nothing up to stay", async () => {
    const ask = { kind: "failover-test", options: { checkpoint: { kind: "latest" } } } as const;
    expect(await forgottenIn(await rebuiltOf(await cameTo("TestRunning", { ask })))).toEqual([]);
  });
});
