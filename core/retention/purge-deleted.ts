import { z } from "zod";
import { type Id, idSchema } from "#core/ids.ts";
import {
  digestKey,
  digestsPrefix,
  journalPrefix,
  layersPrefix,
  manifestKey,
  manifestPrefix,
  packsPrefix,
  sessionClaimPrefix,
} from "#core/journal/keys.ts";
import { sealBytes } from "#core/journal/layout.ts";
import { safeIntegerMax, u32Max } from "#core/journal/limits.ts";
import { digestOf } from "#core/journal/manifest.ts";
import { formatPosition } from "#core/journal/position.ts";
import { storedClaim } from "#core/journal/session-walk.ts";
import { checkStored, parseStored, tableFields } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { ObjectInfo, TableItem } from "#core/ports.ts";
import { rowOfItem } from "#core/protection/checkpoint-row.ts";
import { items } from "#core/protection/items.ts";
import { bucketKeys } from "#core/protection/keys.ts";
import { latestManifest } from "#core/protection/manifests.ts";
import { livePins } from "#core/protection/pins.ts";
import { termsOf } from "#core/protection/terms.ts";
import { findVpg } from "#core/protection/vpg-store.ts";
import { concurrently } from "#core/recovery/concurrently.ts";
import type { Site } from "#core/site.ts";
import { commitDigest, type Standing } from "./commit-digest.ts";
import { retentionLimits as limits } from "./limits.ts";
import { purgeInChunks } from "./purge-in-chunks.ts";

/** What one run deleted of a VPG that was deleted. */
export interface Purged {
  readonly deletedObjects: number;
  readonly deletedBytes: number;
  /** Nothing is left to do. */
  readonly done: boolean;
}

/** The object that ends a VPG, as far as it matters here. */
const deletedSchema = z.object({ vpgId: idSchema, deletedAt: z.int() });

/** How long the VPG was seen to be deleted, by looks that are not far apart: one clock alone, that jumped, proves nothing. */
const lookedSchema = z.object({ lookedAt: z.int(), seenMs: z.int(), purgedAt: z.int().nullable() });

/** At or before it is everything that there could ever be. */
const endOfAll = formatPosition({ session: u32Max, sequence: safeIntegerMax });

/**
 * The journals of deleted VPGs, once they have been deleted for `deletedKeptMs`. Claims, seals, terms, definitions and reports stay,
 * as everywhere, and so does the newest manifest. One VPG's trouble doesn't keep the others waiting.
 */
export async function purgeDeletedVpgs(site: Site, deadline: number): Promise<Readonly<Record<string, Purged>>> {
  const results: Record<string, Purged> = {};
  const troubles: unknown[] = [];
  for await (const { key } of listAll(site.objects, bucketKeys.deletedVpgs)) {
    if (site.clock.monotonic() >= deadline) break;
    try {
      const { vpgId, deletedAt } = parseStored(deletedSchema, await site.objects.get(key), key);
      const purged = await purgeDeletedVpg(site, vpgId, deletedAt);
      if (purged !== undefined) results[vpgId] = purged;
    } catch (error) {
      troubles.push(error);
    }
  }
  if (troubles.length === 1) throw troubles[0];
  if (troubles.length > 1) throw new AggregateError(troubles, `${troubles.length} deleted VPGs could not be purged`);
  return results;
}

/**
 * The same for one: first a digest that lists nothing any more, so that table and bucket show no checkpoint of which parts are gone and
 * whoever works on an older manifest can't commit; then the table's rows, then the objects. Cut off anywhere, the next run goes on.
 * Undefined while it must wait, when somebody else's manifest came first, and when it was done before.
 */
export async function purgeDeletedVpg(site: Site, vpgId: Id, deletedAt: number): Promise<Purged | undefined> {
  const record = await findVpg(site, vpgId);
  if (record?.deleted !== true) {
    // A table restored from a copy of before, or not rebuilt yet: in doubt nothing goes.
    site.log.warn("purge-waits", { vpgId, reason: record === undefined ? "not-in-table" : "not-deleted-in-table" });
    return undefined;
  }
  if (record.forgotten.length > 0) {
    site.log.warn("purge-waits", { vpgId, reason: "operation-forgotten" });
    return undefined;
  }
  if (!(await isDue(site, vpgId, deletedAt))) return undefined;
  if (await isPinned(site, vpgId)) {
    site.log.warn("purge-waits", { vpgId, reason: "pinned" });
    return undefined;
  }
  if (await isUsedSince(site, vpgId, deletedAt)) {
    site.log.warn("purge-waits", { vpgId, reason: "used-after-deletion" });
    return undefined;
  }
  const standing = await unlistAll(site, vpgId);
  if (standing === undefined) return undefined;
  for (const pk of [items.batch(vpgId, 0, 0).pk, items.event(vpgId, 0, 0).pk]) await dropItems(site, pk);
  const going = await objectsOf(site, vpgId, standing);
  await purgeInChunks(
    site,
    going.map(({ key }) => key),
  );
  const deletedBytes = going.reduce((sum, { size }) => sum + size, 0);
  const done = going.length < limits.deletedMax;
  if (done) {
    const now = site.clock.now();
    await site.table.transact([
      { put: items.purge(vpgId), fields: tableFields({ lookedAt: now, seenMs: 0, purgedAt: now }) },
    ]);
  }
  site.log.info("vpg-purged", { vpgId, deletedObjects: going.length, deletedBytes, done });
  return { deletedObjects: going.length, deletedBytes, done };
}

/** Notes this look, and says whether the kept time is over by the site's clock and by the looks; false for good once it was done. */
async function isDue(site: Site, vpgId: Id, deletedAt: number): Promise<boolean> {
  const now = site.clock.now();
  const key = items.purge(vpgId);
  const item = await site.table.get(key);
  const before = item && checkStored(lookedSchema, item.fields, `item ${item.pk}`);
  if (before !== undefined && before.purgedAt !== null) return false;
  const stepMs = Math.min(limits.deletedLookMsMax, Math.max(0, now - (before?.lookedAt ?? now)));
  const seenMs = (before?.seenMs ?? 0) + stepMs;
  await site.table.transact([{ put: key, fields: tableFields({ lookedAt: now, seenMs, purgedAt: null }) }]);
  return seenMs >= limits.deletedKeptMs && now - deletedAt >= limits.deletedKeptMs;
}

/** An operation that left something attached, or a view's lease that was taken before the VPG was deleted. */
async function isPinned(site: Site, vpgId: Id): Promise<boolean> {
  const now = site.clock.now();
  for await (const item of itemsOf(site, items.batch(vpgId, 0, 0).pk)) {
    if (livePins(rowOfItem(item)?.pins ?? [], now).length > 0) return true;
  }
  return false;
}

/** A table of before the deletion let it be protected or failed over again: then what is there is somebody's. */
async function isUsedSince(site: Site, vpgId: Id, deletedAt: number): Promise<boolean> {
  if ((await termsOf(site, vpgId)).some(({ mintedAt }) => mintedAt > deletedAt)) return true;
  let last: string | undefined;
  for await (const { key } of listAll(site.objects, sessionClaimPrefix(vpgId))) last = key;
  return last !== undefined && storedClaim(last, await site.objects.get(last)).openedAt > deletedAt;
}

/** The manifest and the digest by which nothing is listed; undefined when another manifest came first. */
async function unlistAll(site: Site, vpgId: Id): Promise<Standing | undefined> {
  const standing = await standingOf(site, vpgId);
  if (standing.digest?.fields.thinnedThrough === endOfAll) return standing;
  const nothing = { thinnedThrough: endOfAll, kept: [], oldestTime: null, packs: [], passed: [], packedThrough: null };
  const committed = await commitDigest(site, vpgId, standing, nothing, { layers: [], replaced: [] });
  return committed ? standingOf(site, vpgId) : undefined;
}

async function standingOf(site: Site, vpgId: Id): Promise<Standing> {
  const manifest = await latestManifest(site, vpgId);
  return { manifest, digest: await digestOf(site.objects, manifest) };
}

/** What goes, at most `deletedMax`: all but seals, the newest manifest and its digest. */
async function objectsOf(site: Site, vpgId: Id, { manifest, digest }: Standing): Promise<readonly ObjectInfo[]> {
  const stays = new Set([
    ...(manifest === undefined ? [] : [manifestKey(vpgId, manifest.manifest)]),
    ...(digest === undefined ? [] : [digestKey(vpgId, digest.fields.digestId)]),
  ]);
  const going: ObjectInfo[] = [];
  for (const prefixOf of [layersPrefix, packsPrefix, digestsPrefix, manifestPrefix, journalPrefix]) {
    for await (const object of listAll(site.objects, prefixOf(vpgId))) {
      if (going.length === limits.deletedMax) return going;
      // A batch that is exactly as long as a seal stays with them: a few hundred bytes.
      const isSeal = prefixOf === journalPrefix && object.size === sealBytes;
      if (!isSeal && !stays.has(object.key)) going.push(object);
    }
  }
  return going;
}

async function dropItems(site: Site, pk: string): Promise<void> {
  const page: string[] = [];
  const drop = async (): Promise<void> => {
    await concurrently(page, limits.deletesAtOnce, (sk) => site.table.transact([{ delete: { pk, sk } }]));
    page.length = 0;
  };
  for await (const { sk } of itemsOf(site, pk)) if (page.push(sk) === 1000) await drop();
  await drop();
}

async function* itemsOf(site: Site, pk: string): AsyncGenerator<TableItem> {
  let cursor: string | undefined;
  do {
    const page = await site.table.query(pk, cursor === undefined ? {} : { cursor });
    yield* page.items;
    cursor = page.cursor;
  } while (cursor !== undefined);
}
