import { afterEach, expect, it } from "vitest";
import { listCheckpoints, resolveCheckpoint } from "#core/protection/checkpoints.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import { retainJournal } from "#core/retention/retain.ts";
import { hear, journalAgain } from "../../test/kit/changed-terms.ts";
import { protectShop } from "../../test/kit/failover-site.ts";
import { FailoverWorld, operationId } from "../../test/kit/failover-world.ts";
import { openAsk } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";

const hour = 3_600_000;
const worlds: FailoverWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

/** A failover to the oldest of three checkpoints, committed. */
async function failedOver() {
  const shop = await protectShop();
  const world = new FailoverWorld(shop, {
    ask: {
      kind: "failover-live",
      options: {
        checkpoint: { kind: "tag", tag: "before" },
        shutdown: { policy: "none", graceMs: 0 },
        commitPolicy: { action: "commit", afterMs: 0 },
      },
    },
  });
  worlds.push(world);
  await world.run();
  const { site, vpg } = shop;
  const idsOf = async (filter = {}) => {
    const page = await listCheckpoints(site, vpg.vpgId, filter);
    return [page.total, ...page.checkpoints.map(({ id }) => id)];
  };
  return { ...shop, site, vpg, idsOf };
}

it("a committed failover to an older checkpoint leaves the newer ones as its lost tail, and nothing chooses them", async () => {
  const { site, vpg, idsOf } = await failedOver();
  expect(await idsOf()).toEqual([1, "1-8"]);
  expect(await idsOf({ lostTail: operationId })).toEqual([2, "1-12", "1-10"]);
  expect(await idsOf({ lostTail: vpg.vpgId })).toEqual([0]);
  await expect(resolveCheckpoint(site, vpg.vpgId, { kind: "latest" }, vpg.vpgId)).rejects.toThrow(/left none behind/);

  const shown = await vpgView(site, await getVpg(site, vpg.vpgId));
  expect(shown).toMatchObject({ checkpoints: 1, lostTailCheckpoints: 2, newestCheckpoint: { id: "1-8" } });
  expect(shown.oldestCheckpoint?.id).toBe("1-8");

  const resolve = (selector: Parameters<typeof resolveCheckpoint>[2], lostTail?: typeof operationId) =>
    resolveCheckpoint(site, vpg.vpgId, selector, lostTail);
  expect((await resolve({ kind: "latest" })).id).toBe("1-8");
  expect((await resolve({ kind: "time", time: Date.UTC(2031, 0, 1) })).id).toBe("1-8");
  await expect(resolve({ kind: "id", id: "1-10" })).rejects.toMatchObject({ name: "NoCheckpoint" });
  expect((await resolve({ kind: "latest" }, operationId)).id).toBe("1-12");
  expect((await resolve({ kind: "id", id: "1-10" }, operationId)).id).toBe("1-10");
  await expect(resolve({ kind: "id", id: "1-8" }, operationId)).rejects.toMatchObject({ name: "NoCheckpoint" });
});

it("retention that has waited a day for the lost tail lets go of it as if there were no other branch, and the history keeps its newest", async () => {
  const { site, vpg, idsOf, clock, source, stream: before } = await failedOver();
  /** Nothing is tagged any more, and all of it is of one hour. */
  const retain = async () => {
    await hear(site, source);
    const record = await getVpg(site, vpg.vpgId);
    const { definition } = record;
    const retention = { tiers: retentionLimits.tiersDefault.map((tier) => ({ ...tier })), taggedMs: hour };
    return retainJournal(site, { ...record, definition: { ...definition, retention, historyMs: 72 * hour } });
  };
  await clock.advance(23 * hour);
  expect(await retain()).toMatchObject({ waits: "lost-tail-kept" });
  await clock.advance(3 * hour);
  for (const later of [0, hour]) {
    await clock.advance(later);
    expect(await retain()).toMatchObject({ waits: null });
    expect(await idsOf()).toEqual([1, "1-8"]);
    expect(await idsOf({ lostTail: operationId })).toContain("1-12");
  }
  // The way back, long after: the newest of the tail is looked at as well.
  await clock.advance(72 * hour);
  await journalAgain(site, vpg.vpgId);
  const volumes = vpg.definition.vms.flatMap((vm) =>
    vm.volumes.map(({ name, sizeBytes, sectorBytes }) => ({ vmName: vm.name, name, sizeBytes, sectorBytes })),
  );
  const ask = openAsk(site, vpg.vpgId, { lastSession: 1, acknowledgedBatch: before.batch - 1, volumes });
  const stream = new Stream(vpg.vpgId, await openSession(site, source, ask));
  await ingestBatch(site, source, stream.synced());
  for (let run = 0; run < 2; run += 1) {
    await clock.advance(2 * hour);
    await ingestBatch(site, source, stream.checkpoint(clock.now()));
    expect(await retain()).toMatchObject({ waits: null });
  }
  expect(await idsOf()).toEqual([2, "2-10", "2-8"]);
  expect(await idsOf({ lostTail: operationId })).toEqual([0]);
});
