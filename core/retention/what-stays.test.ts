import { afterEach, describe, expect, it, vi } from "vitest";
import { newId } from "#core/ids.ts";
import { termKey } from "#core/journal/keys.ts";
import { parsePosition } from "#core/journal/position.ts";
import { jsonBytes, tableFields } from "#core/json.ts";
import { annotate, extendCheckpoint, pinCheckpoint } from "#core/protection/checkpoints.ts";
import { items } from "#core/protection/items.ts";
import { latestManifest } from "#core/protection/manifests.ts";
import { highestTerm } from "#core/protection/terms.ts";
import { getVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { beforeLook, beforePut, over } from "../../test/kit/between.ts";
import { makeSite, protect, twoVolumes } from "../../test/kit/site.ts";
import {
  agedSmall,
  anotherManifest,
  clockOf,
  oneInAnHour,
  packedSmall,
  smallJournal,
} from "../../test/kit/small-journal.ts";
import { resetSmallLimits, small } from "../../test/kit/small-limits.ts";
import { collectJournal, collectJournals } from "./collect.ts";
import { purgeDeletedVpgs } from "./purge-deleted.ts";
import { retainJournal, retainJournals } from "./retain.ts";
import { retentionStanding } from "./standing.ts";

// Each test breaks when one condition is taken out of what thins, packs and deletes. Bounds are so small that a short journal meets them.
vi.mock("./limits.ts", async (load) => {
  const { withSmallLimits } = await import("../../test/kit/small-limits.ts");
  return withSmallLimits(await load<typeof import("./limits.ts")>());
});
afterEach(resetSmallLimits);

const minute = 60_000;
const hour = 60 * minute;

describe("nothing ages", () => {
  it("and nothing waits, before the first session: no clock of a source was ever heard", async () => {
    const site = makeSite();
    const { vpg } = await protect(site, { ...twoVolumes, retention: oneInAnHour });
    await site.clock.advance(2 * hour);
    expect(await retainJournal(site, vpg)).toBeUndefined();
    expect((await retentionStanding(site, vpg.vpgId)).waits).toBeNull();
  });

  it("for a day after a commit has left the journal, for the lost tail's sake", async () => {
    const world = await packedSmall();
    const { as, objects, vpgId, clock, retain, collect, later, count, ids } = world;
    const { session, sequence } = world.stream();
    const commit = { operationId: newId(clock, as().random), parent: 1, fork: [{ session, sequence }] };
    const term = { ...(await highestTerm(as(), vpgId)), n: 2, mintedAt: clock.now(), ...commit };
    await objects.put(termKey(vpgId, 2, as().siteId), jsonBytes(term));
    const [batches, listed] = [await count("journal"), (await ids()).length];
    expect(await retain()).toMatchObject({ waits: "lost-tail-kept" });
    expect(await collect()).toBeUndefined();
    await later(23 * hour);
    expect(await retain()).toMatchObject({ waits: "lost-tail-kept" });
    expect(await collect()).toBeUndefined();
    expect([await count("journal"), (await ids()).length]).toEqual([batches + 2, listed + 2]);
    await later(hour);
    expect(await retain()).toMatchObject({ waits: null });
    expect((await collect())?.deletedObjects).toBeGreaterThan(0);
  });

  it("while the clock of a source that writes nothing is apart from the site's, by what it said when it was heard", async () => {
    const { as, vpg, caller, clock, table, retain } = await agedSmall();
    const heard = async (skewMs: number) => {
      const { gatewayId } = caller;
      if (gatewayId === null) throw new Error("no gateway");
      const about = {
        version: "1",
        processId: newId(clock, as().random),
        streams: [],
        attachedOperations: [],
        means: null,
      };
      const fields = tableFields({ ...about, gatewayId, name: "gw-berlin", lastSeenAt: clock.now(), skewMs });
      await table.transact([{ put: items.gateway(gatewayId), fields }]);
    };
    await clock.advance(3 * hour);
    await heard(-2 * hour);
    expect(await retain()).toMatchObject({ waits: "no-second-clock" });
    await heard(1000);
    expect(await retain()).toMatchObject({ waits: null });
    expect(vpg.deleted).toBe(false);
  });

  it("while the site's clock is behind the last digest", async () => {
    const { as, retain, collect, clock, write, vpgId, count } = await packedSmall();
    await retain();
    await write(1);
    const batches = await count("journal");
    const back = (): Site => ({ ...as(), clock: { ...clockOf(as()), now: () => clock.now() - 2 * minute } });
    expect(await retainJournal(back(), await getVpg(as(), vpgId))).toMatchObject({ waits: "site-clock-behind" });
    expect(await collect(back())).toBeUndefined();
    expect(await count("journal")).toBe(batches);
  });

  it("of a VPG without retention, nor of one that is deleted", async () => {
    const { as, vpgId, count } = await packedSmall();
    const vpg = await getVpg(as(), vpgId);
    const { retention: _, ...definition } = vpg.definition;
    const counts = async () => Promise.all(["journal", "packs", "layers", "digests", "manifests"].map(count));
    const all = await counts();
    const others: VpgRecord[] = [
      { ...vpg, definition },
      { ...vpg, deleted: true },
    ];
    for (const other of others) {
      expect(await retainJournal(as(), other)).toBeUndefined();
      expect(await collectJournal(as(), other)).toBeUndefined();
    }
    expect(await counts()).toEqual(all);
  });

  it("by a run whose time is over", async () => {
    const { as } = await packedSmall();
    let now = 0;
    const monotonic = () => {
      now += hour;
      return now;
    };
    const late = (): Site => ({ ...as(), clock: { ...clockOf(as()), monotonic } });
    expect(await retainJournals(late())).toEqual({});
    expect(await collectJournals(late())).toEqual({});
    const { as: other, objects, vpgId } = await smallJournal();
    await objects.put(`deleted-vpgs/${vpgId}.json`, jsonBytes({ vpgId, deletedAt: 0 }));
    await purgeDeletedVpgs(other(), 0);
    expect(await other().table.get(items.purge(vpgId))).toBeUndefined();
  });
});

describe("thinning", () => {
  it("leaves what is tagged, and what was pinned after it had looked", async () => {
    const world = await smallJournal();
    const { as, table, vpgId, write, compact, retain, later, ids, clock } = world;
    await write(10);
    await write(1, [{ kind: "marker", time: clock.now(), tag: "before the upgrade" }]);
    const [tagged = ""] = await ids();
    await write(20);
    await compact();
    const [, , , , late = ""] = (await ids()).toReversed();
    let pinning: Promise<void> | undefined;
    const slow = over(table, {
      async transact(actions) {
        if (JSON.stringify(actions).includes('"leaving":true')) {
          pinning ??= pinCheckpoint(as(), vpgId, late, "op");
          await pinning;
        }
        return table.transact(actions);
      },
    });
    await retain(as({ table: slow }));
    expect(pinning).toBeDefined();
    expect(await ids()).toContain(tagged);
    expect(await ids()).toContain(late);
    expect((await ids()).length).toBeLessThan(20);
    await world.expectExact();
    await later(25 * hour);
    await retain();
    expect(await ids()).not.toContain(tagged);
    expect(await ids()).toContain(late);
  });

  it("lets go of none that was tagged, or lasted longer, since it was looked at", async () => {
    const { as, table, vpgId, retain, later, ids } = await agedSmall();
    const [tagged = "", longer = "", ...rest] = (await ids()).toReversed().slice(1, 4);
    let changed: Promise<unknown> | undefined;
    const slow = over(table, {
      async transact(actions) {
        const through = async () => {
          await annotate(as(), vpgId, tagged, newId(as().clock, as().random), "before the upgrade");
          await extendCheckpoint(as(), vpgId, parsePosition(longer), as().clock.now());
        };
        if (JSON.stringify(actions).includes('"leaving":true')) {
          changed ??= through();
          await changed;
        }
        return table.transact(actions);
      },
    });
    await retain(as({ table: slow }));
    expect(await ids()).toEqual(expect.arrayContaining([tagged, longer]));
    for (const id of rest) expect(await ids()).not.toContain(id);
    await later(2 * hour);
    await retain();
    expect(await ids()).toContain(tagged);
    expect(await ids()).not.toContain(longer);
  });

  it("that another manifest overtook lets nothing go, and the next run does", async () => {
    const world = await agedSmall();
    const { as, objects, table, retain, later, ids } = world;
    const all = (await ids()).length;
    await retain();
    const kept = (await ids()).length;
    expect(kept).toBeLessThan(all);
    await later(20 * minute, 12);
    for (const of of [
      as({ objects: beforePut(objects, "manifests", () => anotherManifest(world)) }),
      as({ table: beforeLook(table, 3, () => anotherManifest(world)) }),
    ]) {
      expect(await retain(of)).toMatchObject({ lost: true, unlisted: 0 });
      expect((await ids()).length).toBe(kept + 12);
    }
    expect(await retain()).toMatchObject({ lost: false });
    expect((await ids()).length).toBeLessThan(kept + 12);
    await world.expectExact();
  });
});

describe("packs", () => {
  it("stand for nothing that a checkpoint shows, no batch that may come again, and none that is in no layer", async () => {
    const world = await agedSmall(24);
    const { retain, write, open, compact, digest, expectExact, later, collect } = world;
    // In no layer.
    await write(10);
    await retain();
    await expectExact();
    const ends = async (session: number) => Math.max(0, ...(await digest()).packsOf(session).map(({ to }) => to));
    expect(await ends(1)).toBeGreaterThan(0);
    expect(await ends(1)).toBeLessThanOrEqual(25);
    await compact();
    await later(20 * minute, 0);
    await write(1);
    small.openBatches = 30;
    await later(2 * hour);
    await retain();
    const before = await ends(1);
    small.openBatches = 2;
    await open();
    await write(20);
    await compact();
    await later(2 * hour + minute);
    small.openBatches = 10;
    await retain();
    expect(await ends(1)).toBeGreaterThan(before);
    const { session, batch } = world.stream();
    expect(await ends(session)).toBeGreaterThan(0);
    expect(await ends(session)).toBeLessThanOrEqual(batch - small.openBatches);
    await expectExact();
    await later(2 * hour, 4);
    await collect();
    await expectExact();
  });

  it("end where thinning has ended: what is listed behind it is in none, also when it is in layers", async () => {
    small.openBatches = 0;
    const { retain, digest, expectExact, stream } = await agedSmall();
    await retain();
    const { packs, thinnedThrough } = (await digest()).fields;
    const last = packs.at(-1);
    expect(last?.to).toBeGreaterThan(20);
    expect(last?.to).toBeLessThan(stream().batch - 5);
    expect(`1-${last?.lastSequence}`).toBe(thinnedThrough);
    await expectExact();
    // A session that is younger than all that was thinned, with the numbers that the old one began with.
    const { write, open, compact, ...other } = await smallJournal();
    await write(40);
    await open();
    await write(5);
    await compact();
    await other.retain();
    const found = await other.digest();
    expect(found.fields.thinnedThrough).toMatch(/^1-/);
    expect([found.packsOf(1).length > 0, found.packsOf(2)]).toEqual([true, []]);
    await other.expectExact();
  });

  it("are made of what the table knows: a kept checkpoint whose item is lost stops them", async () => {
    const world = await packedSmall();
    const { retain, collect, digest, table, vpgId, later, write, compact } = world;
    expect((await collect())?.deletedObjects).toBeGreaterThan(0);
    await write(30);
    await compact();
    await later(2 * hour);
    small.packsMax = 0;
    await retain();
    small.packsMax = 2048;
    // Its batch is gone too, so nothing brings the item back.
    const [first = ""] = (await digest()).fields.kept;
    const [session = 0, sequence = 0] = first.split("-").map(Number);
    const key = items.batch(vpgId, session, sequence);
    const item = await table.get(key);
    await table.transact([{ delete: key }]);
    await later(minute);
    expect((await retain())?.packed).toMatchObject({ packs: 0 });
    await table.transact([{ put: key, fields: item?.fields ?? {} }]);
    expect((await retain())?.packed?.packs).toBeGreaterThan(0);
    await world.expectExact();
  });

  it("wait as thinning does, when they were left over from a run before", async () => {
    const { as, retain, later, vpgId } = await agedSmall();
    small.packsMax = 0;
    await retain();
    small.packsMax = 2048;
    await later(minute);
    const vpg = await getVpg(as(), vpgId);
    const operationId = newId(as().clock, as().random);
    const forgotten = [{ operationId, kind: "failover-live" as const, attempt: 1, startedAt: 0, known: false }];
    expect(await retainJournal(as(), { ...vpg, forgotten })).toMatchObject({ waits: "operation-forgotten" });
    expect((await retain())?.packed?.packs).toBeGreaterThan(0);
  });

  it("that another manifest overtook count for nothing: their layers are gone, and what they would replace stays", async () => {
    const world = await agedSmall();
    const { as, objects, retain, digest, count, vpgId, expectExact } = world;
    small.packsMax = 0;
    await retain();
    small.packsMax = 2048;
    await world.later(minute);
    const named = async () => (await latestManifest(as(), vpgId))?.layers.flatMap(({ parts }) => parts).length ?? 0;
    const slow = as({ objects: beforePut(objects, "manifests", () => anotherManifest(world)) });
    expect((await retain(slow))?.packed).toMatchObject({ lost: true });
    expect((await digest()).fields.packs).toEqual([]);
    expect(await count("packs")).toBeGreaterThan(0);
    expect(await count("layers")).toBe(await named());
    await expectExact();
  });

  it("are made of so many bytes a run, also where one segment has more, and the rest follows run by run", async () => {
    const world = await agedSmall(48);
    const { retain, later, digest, objects, vpgId, expectExact } = world;
    const sizes = (await objects.list(`journal/${vpgId}/`)).map(({ size }) => size);
    const most = sizes.slice(0, 10).reduce((sum, size) => sum + size, 0);
    small.packBytesMax = most;
    const reads: number[] = [];
    const left = async () => (await digest()).fields.packedThrough === null;
    do {
      reads.push((await retain())?.packed?.readBytes ?? 0);
      await expectExact();
      // What had to be left is not waited for.
      await later(minute, 1);
    } while ((await left()) && reads.length < 20);
    expect(reads.filter((bytes) => bytes > 0).length).toBeGreaterThan(2);
    expect(Math.max(...reads)).toBeLessThanOrEqual(most);
    expect(reads.length).toBeLessThan(10);
    expect((await digest()).fields.packs.at(-1)?.to).toBeGreaterThan(30);
  });
});
