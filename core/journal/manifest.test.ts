import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { operationId as layerId, siteId, vpgId } from "../../test/kit/batches.ts";
import { manifestKey } from "./keys.ts";
import {
  type BatchRange,
  encodeManifest,
  isCovered,
  type ManifestFields,
  manifestOf,
  readManifest,
} from "./manifest.ts";

const range = (session: number, from: number, to: number, lastSequence = to * 10): BatchRange => ({
  ...{ session, from, to, lastSequence },
});

const fields = (...layers: readonly (readonly BatchRange[])[]): ManifestFields => ({
  ...{ formatVersion: 1, vpgId, manifest: 7, createdAt: 5 },
  layers: layers.map((ranges) => ({ layerId, ranges: [...ranges], extents: 0, parts: [] })),
  replaced: [{ layerId, parts: 2, replacedAt: 4 }],
});

describe("a manifest", () => {
  it("comes back from its bytes with what its layers stand for, in whatever order they are named", async () => {
    const objects = new MemoryObjects();
    const written = fields([range(2, 0, 4), range(1, 5, 9)], [range(1, 0, 5)]);
    await objects.put(manifestKey(vpgId, 7), encodeManifest(written));
    const manifest = await readManifest(objects, vpgId, 7);
    expect(manifest).toEqual({
      ...written,
      covered: new Map([
        [1, { batches: 9, lastSequence: 90 }],
        [2, { batches: 4, lastSequence: 40 }],
      ]),
    });
    expect([8, 9].map((batch) => isCovered(manifest, { session: 1, batch }))).toEqual([true, false]);
    expect(isCovered(manifest, { session: 3, batch: 0 })).toBe(false);
    expect(isCovered(undefined, { session: 1, batch: 0 })).toBe(false);
  });

  it.each([
    ["leave a batch out", fields([range(1, 0, 4)], [range(1, 5, 9)])],
    ["overlap", fields([range(1, 0, 5)], [range(1, 4, 9)])],
    ["begin late", fields([range(1, 1, 5)])],
    ["are empty", fields([range(1, 0, 0)])],
    ["have sequences that fall", fields([range(1, 0, 5, 50)], [range(1, 5, 9, 50)])],
  ])("is refused when its layers %s", (_, wrong) => {
    expect(() => manifestOf(wrong)).toThrow("don't follow each other");
  });

  it("is refused where it is another's, or not what it should be", async () => {
    const objects = new MemoryObjects();
    await objects.put(manifestKey(vpgId, 8), encodeManifest(fields()));
    await objects.put(manifestKey(siteId, 7), encodeManifest(fields()));
    await objects.put(manifestKey(vpgId, 9), Buffer.from(`${JSON.stringify({ ...fields(), manifest: 9, more: 1 })}\n`));
    for (const [owner, number] of [
      [vpgId, 8],
      [siteId, 7],
      [vpgId, 9],
    ] as const) {
      await expect(readManifest(objects, owner, number)).rejects.toMatchObject({ name: "Corrupt" });
    }
  });

  it("is refused when a digit changed", async () => {
    const objects = new MemoryObjects();
    const text = Buffer.from(encodeManifest(fields([range(1, 0, 4)]))).toString();
    await objects.put(manifestKey(vpgId, 7), Buffer.from(text.replace('"to":4', '"to":5')));
    await expect(readManifest(objects, vpgId, 7)).rejects.toThrow("does not have the SHA-256");
  });
});
