import fc from "fast-check";
import { expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { verifyLayers } from "#core/journal/verify-layers.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { newestManifest } from "#core/protection/manifests.ts";
import { rebuildTable } from "#core/protection/rebuild.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import { listed } from "../../test/kit/listing.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { gatewayCallers, offered, severalGateways } from "../../test/kit/several-gateways.ts";
import { makeSite, operator } from "../../test/kit/site.ts";
import { expectInstants, expectViews, overHttp, viewsOf, WrittenSource } from "../../test/kit/written-source.ts";
import { compactJournal } from "./compact.ts";
import { compactionLimits as limits } from "./limits.ts";

// A failure prints its seed: SEED=n npx vitest run --project unit core/compaction/several-gateways.property.test.ts
const seed = Number(process.env["SEED"] ?? Date.now() & 0x7fffffff);

const names = ["gw-a", "gw-b", "gw-c"] as const;
const gateway = fc.nat(names.length - 1);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("hold" as const), of: gateway, times: fc.integer({ min: 1, max: 15 }) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("barrier" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("session" as const), of: gateway }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("compact" as const) }) },
);

async function begin(worldSeed: number) {
  const [objects, table] = [new MemoryObjects(), new SqliteTable(":memory:")];
  const site = makeSite({ objects, table });
  const callers = await gatewayCallers(site, names);
  const vpg = await createVpg(site, severalGateways(names), operator);
  const random = new SeededRandom(worldSeed);
  const sources = callers
    .slice(0, names.length)
    .map((caller, index) => new WrittenSource(site, { vpgId: vpg.vpgId, caller, random, volumes: offered(index) }));
  for (const source of sources) await source.open();
  return { objects, table, site, vpg, sources };
}

it("of a VPG with several source gateways shows at every hold and barrier what replaying each gateway's writes gives", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      fc.array(step, { minLength: 8, maxLength: 30 }),
      async (worldSeed, script) => {
        const { objects, table, site, vpg, sources } = await begin(worldSeed);
        const compact = (own: number) => compactJournal(makeSite({ objects, table, seed: own }), vpg.vpgId);
        // Lives through all of it, so its index and caches are of many manifests.
        const old = new TableJournal(site, vpg.vpgId);
        const barriers: string[] = [];
        const barrier = async () => {
          // A barrier names the instants that were pushed last; together they have every volume once.
          const vector = [];
          for (const source of sources) vector.push(await source.hold());
          const id = await sources[0]?.barrier(vector);
          if (id !== undefined) barriers.push(id);
          const parts = sources.flatMap(({ instants }) => instants.slice(-1));
          expect(parts.flatMap(({ images }) => [...images.keys()]).sort()).toEqual([1, 2, 3]);
          for (const part of parts) {
            for (const from of [old, overHttp(site, vpg, part.position)])
              await expectViews(viewsOf(from, vpg, part), part);
          }
        };
        for (const [index, act] of script.entries()) {
          if (act.kind === "hold") for (let time = 0; time < act.times; time += 1) await sources[act.of]?.hold();
          if (act.kind === "session") await sources[act.of]?.open();
          if (act.kind === "barrier") await barrier();
          if (act.kind === "compact") await compact(100 + index);
        }
        for (let round = 0; round < limits.layerBatchesMin; round += 1) await barrier();
        await compact(7);
        expect((await newestManifest(site, vpg.vpgId))?.layers.length).toBeGreaterThan(0);
        expect((await verifyLayers(objects, vpg.vpgId)).problems).toEqual([]);
        expect((await listed(site, vpg.vpgId)).map((line) => line.split(" ")[0])).toEqual(barriers.toReversed());
        for (const source of sources) await expectInstants(site, vpg, source, Number.POSITIVE_INFINITY);

        const rebuilt = makeSite({ objects, table: new SqliteTable(":memory:") });
        await rebuildTable(rebuilt);
        for (const source of sources) await expectInstants(rebuilt, vpg, source, 2);
      },
    ),
    { numRuns: 4, seed },
  );
}, 120_000);
