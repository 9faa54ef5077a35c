import { type Id, newId } from "#core/ids.ts";
import { type Digest, type DigestFields, encodeDigest } from "#core/journal/digest.ts";
import { digestKey } from "#core/journal/keys.ts";
import { type Manifest, type ManifestLayer, manifestFormat, type ReplacedLayer } from "#core/journal/manifest.ts";
import { commitManifest } from "#core/protection/manifests.ts";
import type { Site } from "#core/site.ts";

/** What stands in the bucket: the newest manifest and the digest that it names. */
export interface Standing {
  readonly manifest: Manifest | undefined;
  readonly digest: Digest | undefined;
}

export type DigestChange = Partial<Omit<DigestFields, "formatVersion" | "vpgId" | "digestId" | "madeAt">>;

export interface LayerChange {
  readonly layers: readonly ManifestLayer[];
  readonly replaced: readonly ReplacedLayer[];
}

/**
 * Stores a digest that differs from the one before and the manifest that names it; false when another manifest was there first, and
 * then the digest is the collector's to find.
 */
export async function commitDigest(
  site: Site,
  vpgId: Id,
  { manifest, digest }: Standing,
  change: DigestChange,
  layers: LayerChange = { layers: manifest?.layers ?? [], replaced: manifest?.replaced ?? [] },
): Promise<boolean> {
  const createdAt = site.clock.now();
  const { bytes, ref } = encodeDigest({
    ...emptyDigest,
    ...digest?.fields,
    ...change,
    formatVersion: 1,
    vpgId,
    digestId: newId(site.clock, site.random),
    madeAt: createdAt,
  });
  await site.objects.put(digestKey(vpgId, ref.digestId), bytes, { ifAbsent: true });
  return commitManifest(site, vpgId, {
    ...manifestFormat(ref),
    vpgId,
    manifest: (manifest?.manifest ?? 0) + 1,
    createdAt,
    layers: [...layers.layers],
    replaced: [...layers.replaced],
  });
}

const emptyDigest: Omit<DigestFields, "formatVersion" | "vpgId" | "digestId" | "madeAt"> = {
  thinnedAt: 0,
  packedAt: 0,
  packedThrough: null,
  thinnedThrough: null,
  kept: [],
  oldestTime: null,
  passed: [],
  packs: [],
  pressure: 0,
};
