import { beforeAll, describe, expect, it, vi } from "vitest";
import { compactJournal } from "#core/compaction/compact.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { agedJournal } from "../../test/kit/aged-journal.ts";
import { listed, listedOffline } from "../../test/kit/listing.ts";
import { operator } from "../../test/kit/site.ts";
import { expectInstants } from "../../test/kit/written-source.ts";
import { collectJournal } from "./collect.ts";
import { purgeDeletedVpgs } from "./purge-deleted.ts";
import { retainJournal } from "./retain.ts";

// Bounds so small that a journal of an hour meets them; everything else is as it is.
const small = vi.hoisted(() => ({ unlistedMax: 30, deletedMax: 25 }));
const digest = vi.hoisted(() => ({ packsMax: 36_000 }));
vi.mock("./limits.ts", async (load) => {
  const { retentionLimits } = await load<typeof import("./limits.ts")>();
  const digestPacksMax = { get: () => digest.packsMax };
  return { retentionLimits: Object.defineProperties({ ...retentionLimits, ...small }, { digestPacksMax }) };
});

const hour = 3_600_000;
/** A journal of 220 batches, with the runs of retention and of the collector. */
async function begin() {
  const journal = await agedJournal({ seed: 8, batches: [180, 40] });
  const { as, vpgId } = journal;
  const retain = async () => retainJournal(as(), await getVpg(as(), vpgId));
  const collect = async () => collectJournal(as(), await getVpg(as(), vpgId));
  return { ...journal, retain, collect };
}

it("a digest that has no room for more packs gets none of batches alone", async () => {
  const { clock, retain, source } = await begin();
  const made: number[] = [];
  for (const packsMax of [0, 36_000]) {
    digest.packsMax = packsMax;
    let packs = 0;
    for (let hours = 0; hours < 9; hours += 3) {
      await clock.advance(3 * hour);
      await source.write(1);
      packs += (await retain())?.packed?.packs ?? 0;
    }
    made.push(packs);
  }
  expect(made[0]).toBe(0);
  expect(made[1]).toBeGreaterThan(0);
}, 60_000);

describe("a run that meets a bound leaves the rest to the next one", () => {
  let world: Awaited<ReturnType<typeof begin>>;
  beforeAll(async () => {
    world = await begin();
  }, 60_000);

  const exact = async (): Promise<number> => {
    const { site, vpg, vpgId, source } = world;
    const ids = await listed(site, vpgId);
    expect(await listedOffline(site, vpgId)).toEqual(ids);
    const names = new Set(ids.map((line) => line.split(" ")[0]));
    const instants = source.instants.filter(({ position }) => names.has(`${position.session}-${position.sequence}`));
    expect(instants).toHaveLength(names.size);
    const ends = [instants[0], instants[Math.floor(instants.length / 2)], instants.at(-1)];
    await expectInstants(site, vpg, { instants: ends.filter((instant) => instant !== undefined) });
    return ids.length;
  };

  it("of thinning: the oldest go first, so many a run", async () => {
    const { clock, source, retain } = world;
    const gone: number[] = [];
    for (let before = await exact(); gone.length < 12; ) {
      await retain();
      const now = await exact();
      gone.push(before - now);
      if (before === now) break;
      await clock.advance(900_000);
      await source.write(1);
      before = now + 1;
    }
    expect(Math.max(...gone)).toBe(small.unlistedMax);
    expect(gone.filter((count) => count === small.unlistedMax).length).toBeGreaterThan(2);
    expect(gone.at(-1)).toBeLessThan(small.unlistedMax);
  }, 120_000);

  it("of collecting, and of what is left of a deleted VPG", async () => {
    const { as, objects, vpgId, clock, source, retain, collect } = world;
    await compactJournal(as(), vpgId);
    await clock.advance(2 * hour);
    await source.write(2);
    expect((await retain())?.packed?.packs).toBeGreaterThan(0);
    await clock.advance(hour);
    await source.write(2);
    const runs: number[] = [];
    for (let last = -1; last !== 0 && runs.length < 40; ) {
      last = (await collect())?.deletedObjects ?? 0;
      runs.push(last);
      await clock.advance(900_000);
      await source.write(1);
    }
    expect(Math.max(...runs)).toBe(small.deletedMax);
    expect(runs.length).toBeGreaterThan(2);
    await exact();
    await deleteVpg(as(), operator, vpgId);
    const purged: number[] = [];
    for (let hours = 0; hours < 24 * 9; hours += 1) {
      const result = (await purgeDeletedVpgs(as(), Number.POSITIVE_INFINITY))[vpgId];
      if (result !== undefined) purged.push(result.deletedObjects);
      await clock.advance(hour);
      if (result?.done === true) break;
    }
    expect(purged.length).toBeGreaterThan(1);
    expect(Math.max(...purged)).toBe(small.deletedMax);
    expect((await objects.list(`journal/${vpgId}/`)).length).toBe(2);
    expect(await objects.list(`packs/${vpgId}/`)).toEqual([]);
  }, 120_000);
});
