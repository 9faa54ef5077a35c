import { expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { CheckpointScan } from "#core/protection/checkpoint-scan.ts";
import { latestDigest, latestManifest } from "#core/protection/manifests.ts";
import { listedOffline } from "../../test/kit/listing.ts";
import { MemoryTable } from "../../test/kit/memory-table.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { makeSite, openAsk, protect, twoVolumes } from "../../test/kit/site.ts";
import { WrittenSource } from "../../test/kit/written-source.ts";
import { commitDigest } from "./commit-digest.ts";
import { type AppliedRetention, appliedRetention } from "./policy.ts";
import { thin } from "./thin.ts";

const minute = 60_000;
const retention = {
  tiers: [
    { everyMs: 0, forMs: 10 * minute },
    { everyMs: 5 * minute, forMs: 1000 * minute },
  ],
  taggedMs: 1000 * minute,
};

/** A checkpoint every ten seconds, of a source that the site's clock is so far behind; `thinBy` is one run's thinning, which answers what is listed then. */
async function begin(behindMs = 0) {
  const table = new MemoryTable();
  const site = makeSite({ objects: new MemoryObjects(), table });
  const { vpg, source: caller } = await protect(site, twoVolumes);
  const { vpgId } = vpg;
  const source = new WrittenSource(site, {
    ...{ vpgId, caller, random: new SeededRandom(5), volumes: openAsk(site, vpgId).volumes },
    nextTime: async () => {
      await site.clock.advance(10_000);
      return site.clock.now() + behindMs;
    },
  });
  await source.open();
  const ids = async () => (await listedOffline(site, vpgId)).map((line) => line.split(" ")[0]);
  const thinBy = async (rule: AppliedRetention) => {
    const thinned = await thin(site, vpgId, await CheckpointScan.open(site, vpgId), rule);
    const [manifest, digest] = [await latestManifest(site, vpgId), await latestDigest(site, vpgId)];
    await commitDigest(site, vpgId, { manifest, digest }, thinned?.change ?? {});
    return ids();
  };
  return { clock: site.clock, table, source, ids, thinBy };
}

it("lists nothing again that was let go, when the rule is eased", async () => {
  const { source, thinBy } = await begin();
  await source.write(200);
  const pressed = appliedRetention({ ...retention, journalLimit: { bytes: 1, policy: "thin" } }, 1000 * minute, 3);
  const kept = await thinBy(pressed);
  expect(kept.length).toBeLessThan(100);
  expect(await thinBy(retention)).toEqual(kept);
});

it("lists nothing again that was let go, when the table is an old one", async () => {
  const { table, source, thinBy, ids } = await begin();
  await source.write(100);
  const backup = table.snapshot();
  await source.write(100);
  const kept = await thinBy(retention);
  table.restore(backup);
  const known = await ids();
  expect(await thinBy(retention)).toEqual(known);
  expect(kept).toEqual(expect.arrayContaining(known.filter((id) => kept.includes(id))));
});

it("lets go nothing young that came while the site's clock was hours behind, when that is set right", async () => {
  const { clock, source, thinBy, ids } = await begin(180 * minute);
  await source.write(30);
  const known = await ids();
  clock.leap(180 * minute);
  expect(await thinBy(retention)).toEqual(known);
  clock.leap(11 * minute);
  expect((await thinBy(retention)).length).toBeLessThan(known.length);
});

it("lets go as declared what came while the source's clock was years ahead, when that is set right", async () => {
  const { clock, source, thinBy, ids } = await begin(2 * 366 * 24 * 60 * minute);
  await source.write(30);
  const known = await ids();
  clock.leap(11 * minute);
  expect((await thinBy(retention)).length).toBeLessThan(known.length);
});
