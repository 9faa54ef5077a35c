import { expect, it, vi } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { compactJournal } from "#core/compaction/compact.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { decodeObject } from "#core/journal/decode.ts";
import type { Pack } from "#core/journal/digest.ts";
import { packKey } from "#core/journal/keys.ts";
import { parsePosition } from "#core/journal/position.ts";
import { verifyJournal } from "#core/journal/verify-journal.ts";
import { pinCheckpoint } from "#core/protection/checkpoints.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { latestDigest } from "#core/protection/manifests.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { listed, listedOffline } from "../../test/kit/listing.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { gatewayCallers, offered, severalGateways } from "../../test/kit/several-gateways.ts";
import { makeSite, operator } from "../../test/kit/site.ts";
import { oneInAnHour } from "../../test/kit/small-journal.ts";
import { expectViews, type Instant, viewsOf, WrittenSource } from "../../test/kit/written-source.ts";
import { collectJournal } from "./collect.ts";
import { retainJournal } from "./retain.ts";

const small = vi.hoisted(() => ({ openBatches: 0, unitsMin: 2 }));
vi.mock("./limits.ts", async (load) => {
  const { retentionLimits } = await load<typeof import("./limits.ts")>();
  return { retentionLimits: { ...retentionLimits, ...small } };
});

const hour = 3_600_000;
const names = ["gw-a", "gw-b"] as const;

/** Rounds of writes of two gateways, each round with a barrier, and now and then more writes of one of them. */
async function begin() {
  const [objects, table] = [new MemoryObjects(), new SqliteTable(":memory:")];
  const site = makeSite({ objects, table });
  const { clock } = site;
  const callers = await gatewayCallers(site, names);
  const vpg = await createVpg(site, severalGateways(names, { retention: oneInAnHour }), operator);
  const { vpgId } = vpg;
  const random = new SeededRandom(4);
  const nextTime = async () => clock.now();
  const sources = callers
    .slice(0, names.length)
    .map((caller, index) => new WrittenSource(site, { vpgId, caller, random, volumes: offered(index), nextTime }));
  for (const source of sources) await source.open();
  /** What each gateway's volumes are at a barrier. */
  const parts = new Map<string, readonly Instant[]>();
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round += 1) {
      await clock.advance(2000);
      await sources[round % 2]?.hold();
      const vector = [];
      for (const source of sources) vector.push(await source.hold());
      const id = await sources[0]?.barrier(vector);
      if (id !== undefined)
        parts.set(
          id,
          sources.flatMap(({ instants }) => instants.slice(-1)),
        );
    }
  };
  let drawn = 200;
  const as = (): Site => {
    drawn += 1;
    return { ...makeSite({ objects, table, seed: drawn }), clock };
  };
  return { objects, clock, vpg, vpgId, sources, parts, rounds, as };
}

it("packs of several gateways end at each one's part of a barrier, reach as far as the last one, and show each as it was", async () => {
  const { objects, clock, vpg, vpgId, sources, parts, rounds, as } = await begin();
  await rounds(24);
  const barriers = [...parts.keys()];
  for (const at of [5, 12]) await pinCheckpoint(as(), vpgId, barriers[at] ?? "", "op");
  // Behind the last kept barrier, and not to be packed.
  await sources[1]?.hold();
  await compactJournal(as(), vpgId);
  await clock.advance(120_000);
  await rounds(2);
  await compactJournal(as(), vpgId);
  const retain = async () => retainJournal(as(), await getVpg(as(), vpgId));
  expect((await retain())?.packed?.packs).toBeGreaterThan(0);
  const digest = await latestDigest(as(), vpgId);
  const { packs = [], kept = [] } = digest?.fields ?? {};
  const exact = async () => {
    expect(await listedOffline(as(), vpgId)).toEqual(await listed(as(), vpgId));
    for (const id of (await listed(as(), vpgId)).map((line) => line.split(" ")[0] ?? "")) {
      for (const from of [new TableJournal(as(), vpgId), await BucketJournal.open(objects, vpgId)]) {
        for (const part of parts.get(id) ?? []) await expectViews(viewsOf(from, vpg, part), part);
      }
    }
    expect((await verifyJournal(objects, vpgId)).problems).toEqual([]);
  };
  const headerOf = async ({ session, from, packId }: Pack) => {
    const decoded = decodeObject(await objects.get(packKey({ vpgId, session, batch: from }, packId)));
    if (decoded.kind === "seal") throw new Error("a pack is a seal");
    return decoded.header;
  };
  expect(kept).toContain(barriers[5]);
  expect(new Set(packs.map(({ session }) => session))).toEqual(new Set([1, 2]));
  // Each part of a kept barrier, and the barrier itself, is the end of a pack, or in none.
  const last = parts.get(kept.at(-1) ?? "") ?? [];
  for (const pack of packs) {
    const limit = last.find(({ position }) => position.session === pack.session)?.position.sequence ?? 0;
    expect(pack.lastSequence).toBeLessThanOrEqual(limit);
    const { firstSequence } = await headerOf(pack);
    for (const id of kept) {
      const places = [parsePosition(id), ...(parts.get(id) ?? []).map(({ position }) => position)];
      for (const { session, sequence } of places.filter((place) => place.session === pack.session)) {
        const inside = sequence >= firstSequence && sequence < pack.lastSequence;
        expect(inside, `${session}-${sequence} in a pack from ${firstSequence} to ${pack.lastSequence}`).toBe(false);
      }
    }
  }
  await exact();
  await clock.advance(hour + 60_000);
  await rounds(2);
  expect((await collectJournal(as(), await getVpg(as(), vpgId)))?.deletedObjects).toBeGreaterThan(20);
  await exact();
  // Another session of one of them, and all of its old one in packs.
  await sources[1]?.open();
  await rounds(10);
  await compactJournal(as(), vpgId);
  await clock.advance(hour);
  await rounds(2);
  await retain();
  await exact();
}, 120_000);
