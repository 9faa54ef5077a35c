import { afterEach, describe, expect, it, vi } from "vitest";
import { newId } from "#core/ids.ts";
import { digestKey } from "#core/journal/keys.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { latestManifest } from "#core/protection/manifests.ts";
import type { Site } from "#core/site.ts";
import { beforeLook, beforePut, over } from "../../test/kit/between.ts";
import { listed } from "../../test/kit/listing.ts";
import {
  agedSmall,
  anotherManifest,
  clockOf,
  packedSmall,
  type SmallJournal,
  smallJournal,
} from "../../test/kit/small-journal.ts";
import { resetSmallLimits, small } from "../../test/kit/small-limits.ts";

// Each test breaks when one condition is taken out of what thins, packs and deletes. Bounds are so small that a short journal meets them.
vi.mock("./limits.ts", async (load) => {
  const { withSmallLimits } = await import("../../test/kit/small-limits.ts");
  return withSmallLimits(await load<typeof import("./limits.ts")>());
});
afterEach(resetSmallLimits);

const minute = 60_000;
const hour = 60 * minute;

describe("a batch that was lost just before a pack", () => {
  it("between object and item is found by whoever looks next, and packed with the others", async () => {
    const world = await smallJournal();
    const { table, vpgId, caller, write, make, clock, compact, retain, expectExact, as, digest, later } = world;
    await write(20);
    await clock.advance(10_000);
    // The object is there, and the function ended before it wrote the item.
    const cut = over(table, {
      transact: (actions) =>
        JSON.stringify(actions).includes(`vpg#${vpgId}#batches`)
          ? Promise.reject(new Error("killed"))
          : table.transact(actions),
    });
    await expect(ingestBatch(as({ table: cut }), caller, make())).rejects.toThrow("killed");
    await write(20);
    await compact();
    await retain();
    expect((await digest()).packsOf(1).length).toBeGreaterThan(0);
    await expectExact();
    await later(2 * hour);
    await world.collect();
    await expectExact();
  });

  it("on its way holds back all that was sent behind it, and is part of the next pack", async () => {
    const world = await smallJournal();
    const { write, make, send, clock, compact, retain, expectExact, digest, later, ids } = world;
    small.openBatches = 0;
    await write(20);
    await clock.advance(10_000);
    const late = make();
    await write(20);
    await compact();
    expect(await ids()).toHaveLength(20);
    await retain();
    const reach = async () => (await digest()).packsOf(1).at(-1)?.to ?? 0;
    expect(await reach()).toBeLessThanOrEqual(late.batch);
    await later(hour + minute, 1);
    await world.collect();
    await send(late);
    expect(await ids()).toContain(`1-${late.batch * 2 + 4}`);
    await expectExact();
    await compact();
    await later(2 * hour + minute);
    await retain();
    expect(await reach()).toBeGreaterThan(late.batch);
    await expectExact();
  });
});

describe("a process that was away while batches were packed and deleted", () => {
  it("lists what all list, and takes the next batch", async () => {
    const world = await smallJournal();
    const { as, vpgId, write, compact, retain, collect, later, open, caller, make, clock } = world;
    await write(20);
    const away = as();
    expect(await listed(away, vpgId)).toHaveLength(20);
    await write(70);
    await compact();
    await later(2 * hour);
    await retain();
    await later(hour + minute);
    expect((await collect())?.deletedObjects).toBeGreaterThan(50);
    await clock.advance(10_000);
    await ingestBatch(away, caller, make());
    expect(await listed(away, vpgId)).toEqual(await listed(as(), vpgId));
    // The whole session is packed now.
    small.openBatches = 0;
    const gone = as();
    await listed(gone, vpgId);
    await open();
    await write(30);
    await compact();
    await later(2 * hour + minute);
    await retain();
    await later(hour + minute);
    await collect();
    expect(await listed(gone, vpgId)).toEqual(await listed(as(), vpgId));
    await world.expectExact();
  });
});

describe("the collector", () => {
  const keysUnder = async ({ objects, vpgId }: SmallJournal, area: string) =>
    (await objects.list(`${area}/${vpgId}/`)).map(({ key }) => key);

  it("deletes nothing when another manifest came first, or by another digest than it listed by", async () => {
    const world = await packedSmall();
    const { as, objects, table, collect, count } = world;
    const counts = async () => Promise.all(["journal", "packs", "layers"].map(count));
    const all = await counts();
    for (const of of [
      as({ objects: beforePut(objects, "manifests", () => anotherManifest(world)) }),
      as({ table: beforeLook(table, 2, () => anotherManifest(world)) }),
    ]) {
      expect(await collect(of)).toBeUndefined();
      expect(await counts()).toEqual(all);
    }
    expect((await collect())?.deletedObjects).toBeGreaterThan(0);
    await world.expectExact();
  });

  it("runs every quarter of an hour, and at once when its clock was ahead the last time", async () => {
    const { collect, as, clock } = await packedSmall();
    const ahead = (): Site => ({ ...as(), clock: { ...clockOf(as()), now: () => clock.now() + 30 * minute } });
    expect(await collect(ahead())).toBeDefined();
    expect(await collect()).toBeDefined();
    expect(await collect()).toBeUndefined();
    await clock.advance(15 * minute);
    expect(await collect()).toBeDefined();
  });

  it("leaves what was replaced for an hour, however old it is: batches, layers, packs, digests", async () => {
    const world = await agedSmall();
    const { retain, collect, later, write, compact, as, vpgId, digest, count } = world;
    // Something to delete at once, so that the first run makes a manifest of its own.
    const leak = `layers/${vpgId}/${newId(world.clock, as().random)}/000000`;
    await world.objects.put(leak, Buffer.alloc(10));
    await later(2 * hour);
    const [oldLayer] = (await latestManifest(as(), vpgId))?.layers ?? [];
    await retain();
    const [oldPack] = (await digest()).fields.packs;
    const has = async (area: string, id = "-") => (await keysUnder(world, area)).some((key) => key.includes(id));
    const batches = await count("journal");
    for (let quarter = 0; quarter < 3; quarter += 1) {
      await later(17 * minute);
      await collect();
      expect(await has("layers", oldLayer?.layerId)).toBe(true);
    }
    expect(await count("journal")).toBe(batches + 6);
    await later(17 * minute);
    await collect();
    expect(await has("layers", oldLayer?.layerId)).toBe(false);
    expect(await count("journal")).toBeLessThan(batches);
    // Much of what packs hold is seen by nobody once the hours of a day have gone.
    await write(40);
    await compact();
    await later(26 * hour);
    await retain();
    const replaced = (await digest()).fields.packs.every(({ packId }) => packId !== oldPack?.packId);
    expect(replaced).toBe(true);
    await later(50 * minute);
    await collect();
    expect(await has("packs", oldPack?.packId)).toBe(true);
    await world.expectExact();
    await later(20 * minute);
    await collect();
    expect(await has("packs", oldPack?.packId)).toBe(false);
    expect(await has("packs", (await digest()).fields.packs[0]?.packId)).toBe(true);
    await world.expectExact();
  });

  it("takes a young leak for what somebody is about to name, and leaves names that it does not know", async () => {
    const world = await packedSmall();
    const { objects, vpgId, collect, later, as, clock, digest } = world;
    const id = newId(clock, as().random);
    const leaks = [`packs/${vpgId}/0000000001/000000000039-${id}`, `layers/${vpgId}/${id}/000000`];
    const strange = ["packs", "layers", "digests", "manifests", "journal"].map((area) => `${area}/${vpgId}/strange`);
    for (const key of [...leaks, ...strange]) await objects.put(key, Buffer.alloc(10));
    const there = async (keys: readonly string[]) =>
      (await Promise.all(keys.map(async (key) => (await objects.head(key)) !== undefined))).filter(Boolean).length;
    await collect();
    expect([await there(leaks), await there(strange)]).toEqual([2, 5]);
    await later(61 * minute);
    expect(await collect()).toMatchObject({ leakedBytes: 20 });
    expect([await there(leaks), await there(strange)]).toEqual([0, 5]);
    // A digest that is newer than the one that counts may be about to count.
    const newer = digestKey(vpgId, newId(clock, as().random));
    await objects.put(newer, Buffer.alloc(10));
    const current = digestKey(vpgId, (await digest()).fields.digestId);
    await later(61 * minute);
    await collect();
    expect(await there([newer, current])).toBe(2);
    await world.retain();
    const young = digestKey(vpgId, (await digest()).fields.digestId);
    await later(20 * minute);
    await world.retain();
    await collect();
    expect([await there([newer, current]), await there([young])]).toEqual([0, 1]);
    await world.expectExact();
  });

  it("leaves the last manifests, and of the items of batches those of kept checkpoints and of what no pack stands for", async () => {
    const world = await packedSmall();
    const { collect, table, vpgId, digest, retain, later, ids } = world;
    small.manifestsKept = 3;
    await collect();
    const rows = (await table.query(`vpg#${vpgId}#batches`)).items;
    const packs = (await digest()).packsOf(1);
    const last = packs.at(-1)?.to ?? 0;
    const numbers = rows.map(({ fields }) => Number(fields["batch"]));
    expect(numbers.filter((batch) => batch >= last)).toHaveLength(world.stream().batch - last);
    const kept = (await digest()).fields.kept;
    const inPacks = numbers.filter((batch) => batch < last);
    expect(inPacks.length).toBeGreaterThan(0);
    expect(inPacks.length).toBeLessThanOrEqual(kept.length + 1);
    for (const id of kept) expect(await ids()).toContain(id);
    await retain();
    await later(20 * minute);
    await retain();
    await later(61 * minute);
    await collect();
    const newest = (await latestManifest(world.as(), vpgId))?.manifest ?? 0;
    // The run's own is one more.
    expect(await keysUnder(world, "manifests")).toHaveLength(5);
    expect(newest).toBeGreaterThan(5);
    await world.expectExact();
  });
});
