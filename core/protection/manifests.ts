import { z } from "zod";
import { ConditionFailed, Corrupt, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Digest } from "#core/journal/digest.ts";
import { bytesEqual } from "#core/journal/hash.ts";
import { manifestKey, manifestPrefix, parseManifestKey } from "#core/journal/keys.ts";
import {
  digestOf,
  encodeManifest,
  type Manifest,
  type ManifestFields,
  newestManifestInBucket,
  readManifest,
} from "#core/journal/manifest.ts";
import { checkStored } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { Site } from "#core/site.ts";
import { items } from "./items.ts";

/** 0: the bucket had none when it was looked at. */
const cachedSchema = z.object({ manifest: z.int().min(0) });

/** The newest manifest that the table knows of; undefined when it knows none. An older one than the bucket's is as right. */
export async function currentManifest(
  site: Pick<Site, "objects" | "table">,
  vpgId: Id,
  known?: Manifest,
): Promise<Manifest | undefined> {
  const manifest = (await cachedNumber(site, vpgId)) ?? 0;
  return manifest <= (known?.manifest ?? 0) ? known : readManifest(site.objects, vpgId, manifest);
}

/**
 * What a compactor goes on from: the manifest that the table knows of, or where it knows nothing the newest in the bucket. Who goes
 * on from an older one than the bucket's finds that out when it commits; a listing for every look would cost more than the batches
 * of an idle VPG.
 */
export async function manifestToFollow(
  site: Pick<Site, "objects" | "table">,
  vpgId: Id,
): Promise<Manifest | undefined> {
  const cached = await cachedNumber(site, vpgId);
  if (cached === undefined) return newestManifest(site, vpgId);
  return cached === 0 ? undefined : readManifest(site.objects, vpgId, cached);
}

/**
 * The newest manifest in the bucket, found from the number that the table knows: the one after it is asked for, which is absent
 * but for a moment, or for good after a kill between the two writes. Whoever lists asks this, so that table and bucket never say
 * different things.
 */
export async function latestManifest(
  site: Pick<Site, "objects" | "table">,
  vpgId: Id,
  known?: Manifest,
): Promise<Manifest | undefined> {
  const cached = await cachedNumber(site, vpgId);
  if (cached === undefined) return newestManifest(site, vpgId);
  let newest = known !== undefined && known.manifest >= cached ? known : undefined;
  for (let number = newest === undefined ? Math.max(1, cached) : newest.manifest + 1; ; number += 1) {
    try {
      newest = await readManifest(site.objects, vpgId, number);
    } catch (error) {
      if (!(error instanceof NotFound)) throw error;
      if (newest !== undefined || cached === 0) return newest;
      // Older than all there are: the table was restored from a copy of long ago. Else it is the newest that is gone.
      const listed = await newestManifest(site, vpgId);
      if ((listed?.manifest ?? 0) < cached) throw error;
      return listed;
    }
  }
}

/** Per site, the digest read last of a VPG: it never changes. */
const digests = new WeakMap<object, Map<string, Digest>>();

/** What retention left of the VPG's journal, by the newest manifest in the bucket; undefined before its first run. */
export async function latestDigest(site: Pick<Site, "objects" | "table">, vpgId: Id): Promise<Digest | undefined> {
  for (;;) {
    const manifest = await readableManifest(site, vpgId);
    if (manifest?.digest === undefined) return undefined;
    const cache = digests.get(site.objects) ?? new Map<string, Digest>();
    digests.set(site.objects, cache);
    const known = cache.get(vpgId);
    if (known?.fields.digestId === manifest.digest.digestId) return known;
    try {
      const digest = await digestOf(site.objects, manifest);
      if (digest !== undefined) cache.set(vpgId, digest);
      return digest;
    } catch (error) {
      // Replaced and collected since: a newer manifest names another.
      const newest = error instanceof NotFound ? await newestManifest(site, vpgId) : undefined;
      if (newest === undefined || newest.manifest === manifest.manifest) throw error;
    }
  }
}

/** As `newestManifestInBucket` passes a damaged one over, and one that is gone. */
async function readableManifest(site: Pick<Site, "objects" | "table">, vpgId: Id): Promise<Manifest | undefined> {
  try {
    return await latestManifest(site, vpgId);
  } catch (error) {
    if (!(error instanceof Corrupt || error instanceof NotFound)) throw error;
    const older = await newestManifestInBucket(site.objects, vpgId);
    if (older?.digest !== undefined) throw error;
    return older;
  }
}

/** The newest manifest in the bucket, told to the table. */
export async function newestManifest(site: Pick<Site, "objects" | "table">, vpgId: Id): Promise<Manifest | undefined> {
  const cached = (await cachedNumber(site, vpgId)) ?? 0;
  // The one that the table knows is listed too: a number that the bucket doesn't have would be no cache of it.
  const newest = (await newestBehind(site, vpgId, cached - 1)) || (cached > 1 ? await newestBehind(site, vpgId, 0) : 0);
  await rememberManifest(site, vpgId, newest);
  return newest === 0 ? undefined : readManifest(site.objects, vpgId, newest);
}

/** The highest number above `before` that the bucket has, 0 when it has none. */
async function newestBehind(site: Pick<Site, "objects">, vpgId: Id, before: number): Promise<number> {
  let newest = 0;
  const options = before > 0 ? { after: manifestKey(vpgId, before) } : {};
  for await (const { key } of listAll(site.objects, manifestPrefix(vpgId), options)) {
    newest = Math.max(newest, parseManifestKey(key)?.manifest ?? 0);
  }
  return newest;
}

/**
 * Commits a manifest by creating its object (R13); false when another of its number was there first. What "exists" may be this very
 * one, stored by a request whose reply was lost: its layers' ids are no other's.
 */
export async function commitManifest(
  site: Pick<Site, "objects" | "table">,
  vpgId: Id,
  manifest: ManifestFields,
): Promise<boolean> {
  const key = manifestKey(vpgId, manifest.manifest);
  const bytes = encodeManifest(manifest);
  const created = await site.objects.put(key, bytes, { ifAbsent: true });
  if (created === "exists" && !bytesEqual(await site.objects.get(key), bytes)) return false;
  await rememberManifest(site, vpgId, manifest.manifest);
  return true;
}

async function cachedNumber(site: Pick<Site, "table">, vpgId: Id): Promise<number | undefined> {
  const item = await site.table.get(items.manifest(vpgId));
  return item === undefined ? undefined : checkStored(cachedSchema, item.fields, `item ${item.pk}`).manifest;
}

/** Never back: who finds a higher number there leaves it. */
async function rememberManifest(site: Pick<Site, "table">, vpgId: Id, manifest: number): Promise<void> {
  const key = items.manifest(vpgId);
  const item = await site.table.get(key);
  if (item !== undefined && checkStored(cachedSchema, item.fields, `item ${item.pk}`).manifest >= manifest) return;
  try {
    await site.table.transact([
      { put: key, fields: { manifest }, if: item === undefined ? { absent: true } : { rev: item.rev } },
    ]);
  } catch (error) {
    // Somebody else wrote it in between; a number that stays behind is a cache's right, and the next run mends it.
    if (!(error instanceof ConditionFailed)) throw error;
  }
}
