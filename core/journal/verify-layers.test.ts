import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { compactJournal } from "#core/compaction/compact.ts";
import type { Id } from "#core/ids.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { newestManifest } from "#core/protection/manifests.ts";
import { openSession } from "#core/protection/open-session.ts";
import { makeSite, openAsk, protect } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { decodeLayerPart } from "./decode-layer.ts";
import { encodeLayerPart, encodeSection } from "./encode-layer.ts";
import { layerPartKey, manifestKey } from "./keys.ts";
import type { LayerSection } from "./layer.ts";
import { encodeManifest } from "./manifest.ts";
import { verifyLayers } from "./verify-layers.ts";

async function layered(): Promise<{ objects: MemoryObjects; vpgId: Id; key: string }> {
  const objects = new MemoryObjects();
  const site = makeSite({ objects, table: new SqliteTable(":memory:") });
  const { vpg, source } = await protect(site);
  const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
  await ingestBatch(site, source, stream.synced());
  for (let batch = 0; batch < 20; batch += 1) await ingestBatch(site, source, stream.checkpoint(batch));
  await compactJournal(site, vpg.vpgId);
  const manifest = await newestManifest(site, vpg.vpgId);
  const key = layerPartKey({ vpgId: vpg.vpgId, layerId: manifest?.layers[0]?.layerId ?? "", part: 0 });
  return { objects, vpgId: vpg.vpgId, key };
}

/** Puts a part in place whose own checks are right, changed in what it says. */
async function change(objects: MemoryObjects, key: string, by: (section: LayerSection) => LayerSection): Promise<void> {
  const { header, sections } = decodeLayerPart(await objects.get(key));
  await objects.put(
    key,
    encodeLayerPart(
      header,
      sections.map(by).map((each) => encodeSection(each)),
    ),
  );
}

describe("verifying layers", () => {
  it("finds nothing wrong with what compaction made, and nothing where there are no layers", async () => {
    const { objects, vpgId } = await layered();
    expect(await verifyLayers(objects, vpgId)).toEqual({ manifest: 1, layers: 1, batches: 21, problems: [] });
    await objects.delete(manifestKey(vpgId, 1));
    expect(await verifyLayers(objects, vpgId)).toEqual({ manifest: 0, layers: 0, batches: 0, problems: [] });
  });

  it("names what no batch says", async () => {
    const problemAfter = async (by: (section: LayerSection) => LayerSection): Promise<string> => {
      const { objects, vpgId, key } = await layered();
      await change(objects, key, by);
      return (await verifyLayers(objects, vpgId)).problems.map(({ message }) => message).join();
    };
    const moved = ({ extents, ...rest }: LayerSection): LayerSection => ({
      ...rest,
      extents: { ...extents, sector: extents.sector.map((sector) => sector + 1) },
    });
    const short = ({ extents, sources, ...rest }: LayerSection): LayerSection => ({
      ...{ ...rest, sources: sources.slice(0, -1) },
      extents: { ...extents, count: extents.count - 1 },
    });
    expect(await problemAfter(moved)).toContain("has another record");
    expect(await problemAfter(short)).toMatch(/bytes, not|has 19 writes/);
    expect(
      await problemAfter(({ sources, ...rest }) => ({
        ...rest,
        sources: sources.map((at) => ({ ...at, size: at.size + 1 })),
      })),
    ).toContain("is not what a layer says of it");
  });

  it("names a part that is damaged or gone, and a manifest that can't be read", async () => {
    const { objects, vpgId, key } = await layered();
    const bytes = Buffer.from(await objects.get(key));
    bytes[bytes.length - 40] = (bytes[bytes.length - 40] ?? 0) ^ 1;
    await objects.put(key, bytes);
    expect((await verifyLayers(objects, vpgId)).problems).toMatchObject([{ error: "Corrupt" }]);
    await objects.delete(key);
    expect((await verifyLayers(objects, vpgId)).problems).toMatchObject([{ error: "NotFound" }]);
    await objects.put(
      manifestKey(vpgId, 2),
      encodeManifest({ formatVersion: 1, vpgId, manifest: 3, createdAt: 0, layers: [], replaced: [] }),
    );
    expect((await verifyLayers(objects, vpgId)).problems).toMatchObject([{ key: manifestKey(vpgId, 2) }]);
  });
});
