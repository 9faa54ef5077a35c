/** A table that was restored from an older copy, before anybody has made it again from the bucket. */
import { expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { compactJournal } from "#core/compaction/compact.ts";
import { batchKey } from "#core/journal/keys.ts";
import { formatPosition } from "#core/journal/position.ts";
import { collectJournal } from "#core/retention/collect.ts";
import { retainJournal } from "#core/retention/retain.ts";
import { knownRun } from "#core/scrub/known-run.ts";
import type { Site } from "#core/site.ts";
import { listed } from "../../test/kit/listing.ts";
import { MemoryTable } from "../../test/kit/memory-table.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { makeSite, openAsk, protect, twoVolumes } from "../../test/kit/site.ts";
import { expectViews, overHttp, viewsOf, type WrittenInstant, WrittenSource } from "../../test/kit/written-source.ts";
import { CheckpointScan } from "./checkpoint-scan.ts";
import { imageHashes } from "./image-hashes.ts";
import { ingestBatch } from "./ingest.ts";
import { protectionLimits as limits } from "./limits.ts";
import { rebuildTable } from "./rebuild.ts";
import { TableJournal } from "./table-journal.ts";
import { getVpg } from "./vpg-store.ts";

const hour = 3_600_000;
const pause = (): Promise<void> => Promise.resolve();

/** A journal with a session of some batches, and the table's copy of then. */
async function begin() {
  const [objects, table] = [new MemoryObjects(), new MemoryTable()];
  const site = makeSite({ objects, table });
  const { clock } = site;
  const retention = {
    tiers: [
      { everyMs: 0, forMs: 60_000 },
      { everyMs: hour, forMs: 24 * hour },
    ],
    taggedMs: 24 * hour,
  };
  const { vpg, source: caller } = await protect(site, { ...twoVolumes, retention });
  const source = new WrittenSource(site, {
    ...{ vpgId: vpg.vpgId, caller, random: new SeededRandom(3), volumes: openAsk(site, vpg.vpgId).volumes },
    nextTime: async () => {
      await clock.advance(10_000);
      return clock.now();
    },
  });
  await source.open();
  await source.write(12);
  const copy = table.snapshot();
  let seed = 10;
  /** Another process of the site. */
  const as = (of: MemoryTable = table): Site => {
    seed += 1;
    return { ...makeSite({ objects, table: of, seed }), clock };
  };
  const newest = (): WrittenInstant => {
    const instant = source.instants.at(-1);
    if (instant === undefined) throw new Error("nothing was written");
    return instant;
  };
  const expectRefused = async ({ position }: WrittenInstant): Promise<void> => {
    const refused = { name: "TableBehindBucket" };
    const ask = { vpgId: vpg.vpgId, volume: 1, page: 0, upTo: position };
    await expect(imageHashes(as(), vpg, ask, pause)).rejects.toMatchObject(refused);
    const journals = [new TableJournal(as(), vpg.vpgId), overHttp(as(), vpg, position)];
    for (const journal of journals)
      await expect(journal.batchesTouching(1, 0, position)).rejects.toMatchObject(refused);
  };
  return { site, vpg, caller, source, objects, table, copy, as, newest, expectRefused, clock };
}

it("neither reads nor comes to list what was journaled in sessions that it doesn't know", async () => {
  const { vpg, caller, source, objects, table, copy, as, newest, expectRefused } = await begin();
  const { vpgId } = vpg;
  const [first] = source.instants;
  if (first === undefined) throw new Error("nothing was written");
  const then = await listed(as(), vpgId);
  await source.open();
  await source.write(limits.progressStoredEvery + 10);
  const second = newest();
  await source.open();
  await source.write(3);

  table.restore(copy);
  // The gateway ships on: the bucket alone says whether it may.
  const place = { vpgId, term: 1, session: 2, batch: 5 };
  const sent = { ...place, body: await objects.get(batchKey(place)), ageMs: 0 };
  expect(await ingestBatch(as(), caller, sent)).toMatchObject({ duplicate: true });
  expect(await knownRun(as(), vpgId, 1)).toMatchObject({ sealed: true });
  for (const session of [2, 3]) expect(await knownRun(as(), vpgId, session)).toBeUndefined();
  expect(await listed(as(), vpgId)).toEqual(then);
  for (const instant of [second, newest()]) await expectRefused(instant);
  await expectViews(viewsOf(new TableJournal(as(), vpgId), vpg, first), first);

  const made = new MemoryTable();
  await rebuildTable(as(made));
  for (const instant of [first, second, newest()]) {
    await expectViews(viewsOf(new TableJournal(as(made), vpgId), vpg, instant), instant);
  }
});

it("doesn't read where packs stand for batches of a session that it knows the beginning of", async () => {
  const { vpg, source, table, copy, as, newest, expectRefused, clock } = await begin();
  const { vpgId } = vpg;
  await source.write(400);
  await compactJournal(as(), vpgId);
  const now = async () => getVpg(as(), vpgId);
  await retainJournal(as(), await now());
  await clock.advance(2 * hour);
  // Retention goes by the clock of a source that is there, too.
  await source.write(8);
  await collectJournal(as(), await now());
  const ids = await listed(as(), vpgId);
  expect(ids.length).toBeLessThan(20);
  const left = source.instants.filter(({ position }) =>
    ids.some((line) => line.startsWith(`${formatPosition(position)} `)),
  );
  expect(left.length).toBeGreaterThan(2);

  table.restore(copy);
  await expectRefused(newest());
  const { total, journalBytes } = (await CheckpointScan.open(as(), vpgId)).summary();
  expect(total).toBeGreaterThanOrEqual(0);
  expect(journalBytes).toBeGreaterThanOrEqual(0);
});
