import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { sha256 } from "#core/journal/hash.ts";
import { layersPrefix, manifestPrefix } from "#core/journal/keys.ts";
import { verifyLayers } from "#core/journal/verify-layers.ts";
import { listAll } from "#core/list-all.ts";
import { imageHashes } from "#core/protection/image-hashes.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import { blockBytes } from "#core/sync/limits.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { makeSite, openAsk, protect } from "../../test/kit/site.ts";
import { expectInstants, expectViews, overHttp, viewsOf, WrittenSource } from "../../test/kit/written-source.ts";
import { compactJournal } from "./compact.ts";
import { compactionLimits as limits } from "./limits.ts";

// A failure prints its seed: SEED=n npx vitest run --project unit core/compaction/damage.property.test.ts
const seed = Number(process.env["SEED"] ?? Date.now() & 0x7fffffff);

/** A journal with a large layer, a small one, and batches in none. */
async function layered(worldSeed: number) {
  const objects = new MemoryObjects();
  const table = new SqliteTable(":memory:");
  const log = new QuietLog();
  const site = { ...makeSite({ objects, table }), log };
  const { vpg, source: caller } = await protect(site);
  const { volumes } = openAsk(site, vpg.vpgId);
  const source = new WrittenSource(site, {
    ...{ vpgId: vpg.vpgId, caller, volumes, random: new SeededRandom(worldSeed) },
  });
  await source.open();
  for (let layers = 0; layers <= limits.mergeLayersMin; layers += 1) {
    if (layers === 2) await source.open();
    await source.write(limits.layerBatchesMin);
    await compactJournal(makeSite({ objects, table, seed: 10 + layers }), vpg.vpgId);
  }
  await source.write(5);
  /** The newest manifest and the parts that it names, those merged away not among them. */
  const [manifest = ""] = (await keysOf(objects, manifestPrefix(vpg.vpgId))).toReversed();
  const text = Buffer.from(await objects.get(manifest)).toString();
  const [named = ""] = text.split('"replaced"');
  const parts = (await keysOf(objects, layersPrefix(vpg.vpgId))).filter((key) =>
    named.includes(key.split("/")[2] ?? "-"),
  );
  return { objects, table, site, vpg, source, log, manifest, parts };
}

async function keysOf(objects: MemoryObjects, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listAll(objects, prefix)) keys.push(key);
  return keys;
}

/** A chunk's hash as the gateway's protocol has it, by the plain formula: SHA-256 over the SHA-256 of each block. */
function hashOfBlocks(chunk: Buffer): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < chunk.length; at += blockBytes) blocks.push(sha256(chunk.subarray(at, at + blockBytes)));
  return sha256(Buffer.concat(blocks));
}

type Damage = "cut" | "flip" | "gone";
const damages: readonly Damage[] = ["cut", "flip", "gone"];

/** `at` from 0 to 1: where in the object. */
async function damage(objects: MemoryObjects, key: string, kind: Damage, at: number): Promise<void> {
  if (kind === "gone") return objects.delete(key);
  const bytes = Buffer.from(await objects.get(key));
  const place = Math.min(bytes.length - 1, Math.floor(at * bytes.length));
  bytes[place] = (bytes[place] ?? 0) ^ (1 << (place % 8));
  await objects.put(key, kind === "cut" ? bytes.subarray(0, place) : bytes);
}

describe("damage to what only indexes batches", () => {
  it.each(["part", "manifest"].flatMap((what) => damages.map((kind) => [what, kind] as const)))(
    "a %s that is %s: views and target hashes are those of a plain replay, and the log names it once",
    async (what, kind) => {
      const { objects, site, vpg, source, log, manifest, parts } = await layered(3);
      const key = what === "part" ? (parts[0] ?? "") : manifest;
      // In a part's header, which every reader needs.
      await damage(objects, key, kind, 0);
      const last = source.instants.at(-1);
      if (last === undefined) throw new Error("no instant");
      const warned = () =>
        log.entries
          .splice(0)
          .filter(({ level }) => level === "warn")
          .map(({ event, fields }) => `${event} ${String(fields["object"])}`);

      for (const journal of [new TableJournal(site, vpg.vpgId), overHttp(site, vpg, last.position)]) {
        await Promise.all([1, 2, 3].map(() => expectViews(viewsOf(journal, vpg, last), last)));
        for (const view of viewsOf(journal, vpg, last)) expect(await view.isEmptyPage(0)).toBe(false);
        expect(warned()).toEqual([`layers-given-up ${key}`]);
      }
      for (const [volume, image] of last.images) {
        const ask = { vpgId: vpg.vpgId, volume, page: 0, upTo: last.position };
        const hashes = Buffer.from(await imageHashes(site, vpg, ask, async () => undefined));
        const whole = Buffer.concat([image, Buffer.alloc(2 * chunkBytes - image.length)]);
        const expected = [whole.subarray(0, chunkBytes), whole.subarray(chunkBytes)].map(hashOfBlocks);
        expect(hashes.subarray(0, 64).equals(Buffer.concat(expected))).toBe(true);
      }
      expect(warned()).toEqual([`layers-given-up ${key}`]);

      const { problems } = await verifyLayers(objects, vpg.vpgId);
      // Without the newest manifest the one before it is the newest, and as right.
      expect(problems.length > 0).toBe(what === "part" || kind !== "gone");
    },
  );

  it("anywhere, at any time of a reader's life, changes no image", async () => {
    const target = fc.record({
      part: fc.option(fc.nat(20)),
      kind: fc.constantFrom(...damages),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.array(target, { minLength: 1, maxLength: 3 }),
        async (worldSeed, hits) => {
          const { objects, site, vpg, source, manifest, parts } = await layered(worldSeed);
          const step = Math.ceil(source.instants.length / 6);
          const some = source.instants.filter((_, index) => index % step === 0);
          const old = new TableJournal(site, vpg.vpgId);
          const opened = some.flatMap((instant) =>
            [old, overHttp(site, vpg, instant.position)].map((from) => ({
              instant,
              views: viewsOf(from, vpg, instant),
            })),
          );
          // Their pages leave out what layers stand for.
          for (const { views } of opened) for (const view of views) await view.isEmptyPage(0);
          for (const { part, kind, at } of hits) {
            const key = part === null ? manifest : (parts[part % parts.length] ?? "");
            if ((await objects.head(key)) !== undefined) await damage(objects, key, kind, at);
          }
          await Promise.all(opened.map(({ instant, views }) => expectViews(views, instant)));
          await source.write(3);
          for (const instant of source.instants.slice(-1)) await expectViews(viewsOf(old, vpg, instant), instant);
          await expectInstants(site, vpg, source, 6);
        },
      ),
      { numRuns: 12, seed },
    );
  }, 120_000);
});
