import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { FaultPlan } from "#adapters/faulty/fault-plan.ts";
import { FaultyObjects } from "#adapters/faulty/faulty-objects.ts";
import { FaultyTable } from "#adapters/faulty/faulty-table.ts";
import { isRetryable } from "#core/errors.ts";
import { layersPrefix } from "#core/journal/keys.ts";
import { listAll } from "#core/list-all.ts";
import { newestManifest } from "#core/protection/manifests.ts";
import { rebuildTable } from "#core/protection/rebuild.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import type { View } from "#core/recovery/view.ts";
import type { Site } from "#core/site.ts";
import { Life, mortal } from "../../test/kit/mortal.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { makeSite, openAsk, type ProtectedVpg, protect } from "../../test/kit/site.ts";
import {
  expectInstants,
  expectViews,
  type Instant,
  overHttp,
  viewsOf,
  WrittenSource,
} from "../../test/kit/written-source.ts";
import { compactJournal } from "./compact.ts";
import { compactionLimits as limits } from "./limits.ts";

// A failure prints its seed: SEED=n npx vitest run --project unit core/compaction/compact.property.test.ts
const seed = Number(process.env["SEED"] ?? Date.now() & 0x7fffffff);

async function keysOf(objects: MemoryObjects, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listAll(objects, prefix)) keys.push(key);
  return keys;
}

async function namedKeys(site: Site, { vpg }: ProtectedVpg): Promise<string[]> {
  const manifest = await newestManifest(site, vpg.vpgId);
  return (manifest?.layers ?? []).flatMap(({ layerId, parts }) =>
    parts.map((_, part) => `${layersPrefix(vpg.vpgId)}${layerId}/${String(part).padStart(6, "0")}`),
  );
}

async function begin(worldSeed: number) {
  const [objects, table] = [new MemoryObjects(), new SqliteTable(":memory:")];
  const site = makeSite({ objects, table });
  const made = await protect(site);
  const source = new WrittenSource(site, {
    ...{ vpgId: made.vpg.vpgId, caller: made.source, random: new SeededRandom(worldSeed) },
    volumes: openAsk(site, made.vpg.vpgId).volumes,
  });
  await source.open();
  return { objects, table, site, made, source };
}

/** A process of the same site. */
const another = ({ objects, table }: { objects: MemoryObjects; table: SqliteTable }, ownSeed: number) =>
  makeSite({ objects, table, seed: ownSeed });

describe("compaction", () => {
  it("shows at every checkpoint what replaying the writes gives, through faults and sessions, to views old and new", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.array(fc.tuple(fc.constantFrom("write", "write", "compact", "session"), fc.integer({ min: 1, max: 40 })), {
          minLength: 3,
          maxLength: 12,
        }),
        async (worldSeed, script) => {
          const world = await begin(worldSeed);
          const { objects, table, site, made, source } = world;
          const plan = new FaultPlan({
            seed: worldSeed,
            rates: {
              put: { failBefore: 0.1, lostReply: 0.1, duplicate: 0.2 },
              transact: { lostReply: 0.1 },
              get: { failBefore: 0.03 },
            },
          });
          const faulty = { objects: new FaultyObjects(objects, plan), table: new FaultyTable(table, plan) };
          // Lives through all of it, so its index and caches are of many manifests.
          const old = new TableJournal(site, made.vpg.vpgId);
          // Opened and touched in one chunk, read whole after all that came later.
          const opened: { readonly instant: Instant; readonly views: readonly View[] }[] = [];
          for (const [index, [kind, count]] of script.entries()) {
            if (kind === "write") await source.write(count);
            if (kind === "session") await source.open();
            if (kind === "compact") {
              await compactJournal(makeSite({ ...faulty, seed: 100 + index }), made.vpg.vpgId).catch(
                (error: unknown) => {
                  if (!isRetryable(error)) throw error;
                },
              );
            }
            for (const instant of source.instants.slice(-2))
              await expectViews(viewsOf(old, made.vpg, instant), instant);
            for (const instant of source.instants.slice(-1)) {
              for (const from of [old, overHttp(site, made.vpg, instant.position)]) {
                const views = viewsOf(from, made.vpg, instant);
                for (const view of views) await view.read(0, Buffer.alloc(512));
                opened.push({ instant, views });
              }
            }
          }
          plan.heal();
          await source.write(2 * limits.layerBatchesMin);
          await compactJournal(another(world, 7), made.vpg.vpgId);
          expect((await namedKeys(site, made)).length).toBeGreaterThan(0);
          await expectInstants(site, made.vpg, source);

          for (const { instant, views } of opened) await expectViews(views, instant);

          const rebuilt = makeSite({ objects, table: new SqliteTable(":memory:") });
          await rebuildTable(rebuilt);
          await expectInstants(rebuilt, made.vpg, source, 2);
        },
      ),
      { numRuns: 5, seed },
    );
  }, 120_000);

  it("killed after any call changes no image, and the next run finishes", async () => {
    let calls = 0;
    for (let deaths = 1; ; deaths += 1) {
      const world = await begin(deaths);
      const { objects, table, site, made, source } = world;
      for (let layers = 0; layers < limits.mergeLayersMin; layers += 1) {
        await source.write(limits.layerBatchesMin);
        if (layers < limits.mergeLayersMin - 1) await compactJournal(another(world, 2 + layers), made.vpg.vpgId);
      }
      const life = new Life();
      let left = deaths;
      // A death after a read leaves what one after the write before it left.
      const onCall = (method: string) => {
        if (method !== "put" && method !== "transact") return;
        left -= 1;
        if (left === 0) life.kill();
      };
      const dying = makeSite({ objects: mortal(objects, life, onCall), table: mortal(table, life, onCall), seed: 77 });
      const outcome = await life.race(compactJournal(dying, made.vpg.vpgId));
      await expectInstants(site, made.vpg, source, 2);
      await compactJournal(another(world, 99), made.vpg.vpgId);
      expect((await newestManifest(site, made.vpg.vpgId))?.layers).toHaveLength(1);
      await expectInstants(site, made.vpg, source, 2);
      calls = deaths;
      if (outcome !== "killed") break;
    }
    // A layer, its manifest and the table's number; the same of the merge; and the run that got through.
    expect(calls).toBe(7);
  }, 120_000);

  it("of two at once one wins, and the other leaves nothing behind", async () => {
    const world = await begin(5);
    const { objects, site, made, source } = world;
    await source.write(limits.layerBatchesMin);
    const outcomes = await Promise.all([3, 4].map((own) => compactJournal(another(world, own), made.vpg.vpgId)));
    expect(outcomes.map(({ lost }) => lost).sort()).toEqual([false, true]);
    expect(await keysOf(objects, layersPrefix(made.vpg.vpgId))).toEqual(await namedKeys(site, made));
    await expectInstants(site, made.vpg, source);
  });

  it("knows its own manifest when the store did its request twice", async () => {
    const world = await begin(8);
    const { objects, table, site, made, source } = world;
    await source.write(limits.layerBatchesMin);
    const plan = new FaultPlan({ seed: 1, rates: { put: { duplicate: 1 } } });
    const twice = makeSite({ objects: new FaultyObjects(objects, plan), table, seed: 3 });
    expect(await compactJournal(twice, made.vpg.vpgId)).toMatchObject({ lost: false, layers: 1 });
    expect(await keysOf(objects, layersPrefix(made.vpg.vpgId))).toEqual(await namedKeys(site, made));
    await expectInstants(site, made.vpg, source, 3);
  });

  it("deletes merged layers after a while, killed or not, and whoever still read by them goes on with the newest", async () => {
    let leftAtDeath = 0;
    for (let deaths = 1; ; deaths += 1) {
      const world = await begin(deaths);
      const { objects, table, site, made, source } = world;
      const prefix = layersPrefix(made.vpg.vpgId);
      const opened: { readonly instant: Instant; readonly views: readonly View[] }[] = [];
      for (let layers = 0; layers < limits.mergeLayersMin; layers += 1) {
        await source.write(limits.layerBatchesMin);
        // As if it were by the manifest before the merge: the last layer comes, and is merged, after these were touched.
        for (const instant of source.instants.slice(-1)) {
          for (const from of [new TableJournal(site, made.vpg.vpgId), overHttp(site, made.vpg, instant.position)]) {
            const views = viewsOf(from, made.vpg, instant);
            for (const view of views) await view.isEmptyPage(0);
            opened.push({ instant, views });
          }
        }
        await compactJournal(another(world, 2 + layers), made.vpg.vpgId);
      }
      expect(await keysOf(objects, prefix)).toHaveLength(limits.mergeLayersMin + 1);
      const life = new Life();
      let left = deaths;
      const onCall = (method: string) => {
        if (method === "get" || method === "list" || method === "query") return;
        left -= 1;
        if (left === 0) life.kill();
      };
      const dying = makeSite({ objects: mortal(objects, life, onCall), table: mortal(table, life, onCall), seed: 77 });
      await dying.clock.advance(limits.replacedLayersMs);
      const outcome = await life.race(compactJournal(dying, made.vpg.vpgId));
      for (const { instant, views } of opened) await expectViews(views, instant);
      await expectInstants(site, made.vpg, source, 2);
      if (outcome === "killed") leftAtDeath = Math.max(leftAtDeath, (await keysOf(objects, prefix)).length - 1);
      const after = another(world, 99);
      await after.clock.advance(limits.replacedLayersMs);
      await compactJournal(after, made.vpg.vpgId);
      expect(await keysOf(objects, prefix)).toEqual(await namedKeys(site, made));
      await expectInstants(site, made.vpg, source, 2);
      if (outcome !== "killed") break;
    }
    expect(leftAtDeath).toBe(limits.mergeLayersMin - 1);
  });

  it("keeps few layers, whatever the length of the history", async () => {
    const world = await begin(6);
    const { made, source } = world;
    let most = 0;
    for (let round = 0; round < 20; round += 1) {
      await source.write(limits.layerBatchesMin);
      const { layers, lost } = await compactJournal(another(world, 10 + round), made.vpg.vpgId);
      expect(lost).toBe(false);
      most = Math.max(most, layers);
    }
    // Up to three of each of three sizes.
    expect(most).toBeLessThanOrEqual(3 * (limits.mergeLayersMin - 1));
  });
});
