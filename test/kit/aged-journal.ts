import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { compactJournal } from "#core/compaction/compact.ts";
import type { Objects, Table } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { SeededRandom } from "./seeded-random.ts";
import { makeSite, openAsk, protect, twoVolumes } from "./site.ts";
import { WrittenSource } from "./written-source.ts";

const hour = 3_600_000;
/** Every checkpoint for a minute, one an hour for a day. */
const retention = {
  tiers: [
    { everyMs: 0, forMs: 60_000 },
    { everyMs: hour, forMs: 24 * hour },
  ],
  taggedMs: 24 * hour,
};

/** A journal of two sessions with so many batches, one in ten seconds, and its layers. `as` is another run of a function there. */
export async function agedJournal({ seed, batches }: { readonly seed: number; readonly batches: readonly number[] }) {
  const [objects, table] = [new MemoryObjects(), new SqliteTable(":memory:")];
  const site = makeSite({ objects, table });
  const { clock } = site;
  const { vpg, source: caller } = await protect(site, { ...twoVolumes, retention });
  const { vpgId } = vpg;
  const source = new WrittenSource(site, {
    ...{ vpgId, caller, random: new SeededRandom(seed) },
    volumes: openAsk(site, vpgId).volumes,
    nextTime: async () => {
      await clock.advance(10_000);
      return clock.now();
    },
  });
  let drawn = 50;
  const as = (over: { readonly objects?: Objects; readonly table?: Table } = {}): Site => {
    drawn += 1;
    return { ...makeSite({ objects, table, seed: drawn, ...over }), clock };
  };
  for (const count of batches) {
    await source.open();
    await source.write(count);
  }
  await compactJournal(as(), vpgId);
  return { objects, table, site, clock, vpg, vpgId, caller, source, as };
}
