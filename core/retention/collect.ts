import type { Id } from "#core/ids.ts";
import type { Pack } from "#core/journal/digest.ts";
import {
  digestKey,
  digestsPrefix,
  journalPrefix,
  layersPrefix,
  manifestPrefix,
  packsPrefix,
  parseBatchKey,
  parseDigestKey,
  parseLayerPartKey,
  parseManifestKey,
  parsePackKey,
} from "#core/journal/keys.ts";
import { type Manifest, manifestFormat } from "#core/journal/manifest.ts";
import { ulidTime } from "#core/journal/ulid-bytes.ts";
import { listAll } from "#core/list-all.ts";
import type { ObjectInfo } from "#core/ports.ts";
import { CheckpointScan } from "#core/protection/checkpoint-scan.ts";
import { commitManifest, latestManifest } from "#core/protection/manifests.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import { listVpgs } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { waitReason } from "./clock-guard.ts";
import type { Standing } from "./commit-digest.ts";
import { dropRows } from "./drop-rows.ts";
import { retentionLimits as limits } from "./limits.ts";
import { packAt } from "./pack-at.ts";
import { purgeInChunks } from "./purge-in-chunks.ts";
import { noteStanding, retentionStanding } from "./standing.ts";

/** What one run found and did for a VPG, in bytes. */
export interface Collected {
  /** What the newest manifest names, and what came since. */
  readonly liveBytes: number;
  /** Replaced, and not old enough. */
  readonly deadBytes: number;
  /** Named by nothing: left by a run that was killed. Those that are old enough are among the deleted. */
  readonly leakedBytes: number;
  readonly deletedBytes: number;
  readonly deletedObjects: number;
}

/** R13's deletion, for every VPG of the site that has a retention policy; one's trouble doesn't keep the others waiting. */
export async function collectJournals(site: Site): Promise<Readonly<Record<string, Collected>>> {
  const results: Record<string, Collected> = {};
  const troubles: unknown[] = [];
  const deadline = site.clock.monotonic() + limits.runMs;
  for (const vpg of await listVpgs(site)) {
    if (site.clock.monotonic() >= deadline) break;
    try {
      const collected = await collectJournal(site, vpg);
      if (collected !== undefined) results[vpg.vpgId] = collected;
    } catch (error) {
      troubles.push(error);
    }
  }
  if (troubles.length === 1) throw troubles[0];
  if (troubles.length > 1) throw new AggregateError(troubles, `${troubles.length} journals could not be collected`);
  return results;
}

/**
 * The same for one VPG: first a manifest, so that whoever works on an older one can't commit what is about to go; then the table's
 * rows, then the objects. Cut off anywhere, the next run finds what is left. Undefined when it may not run now, or lost.
 */
export async function collectJournal(site: Site, vpg: VpgRecord): Promise<Collected | undefined> {
  const { vpgId } = vpg;
  if (vpg.definition.retention === undefined || vpg.deleted) return undefined;
  const { collectedAt } = await retentionStanding(site, vpgId);
  const sinceMs = site.clock.now() - (collectedAt ?? 0);
  if (sinceMs >= 0 && sinceMs < limits.collectEveryMs) return undefined;
  const scan = await CheckpointScan.open(site, vpgId);
  const { digest } = scan;
  const manifest = await latestManifest(site, vpgId);
  if (manifest === undefined || manifest.digest?.digestId !== digest?.fields.digestId) return undefined;
  const reason = await waitReason(site, vpg, scan);
  if (reason !== undefined) return undefined;
  const found = await classify(site, vpgId, { manifest, digest });
  if (found.gone.length > 0) {
    if (!(await commitAgain(site, vpgId, manifest))) return undefined;
    await dropRows(site, vpgId, scan);
    await purgeInChunks(site, found.gone);
  }
  const { gone, ...collected } = found;
  await noteStanding(site, vpgId, { collectedAt: site.clock.now(), ...collected });
  return { ...collected, deletedObjects: gone.length };
}

/** The same manifest under the next number, without layers that were replaced long ago. */
function commitAgain(site: Site, vpgId: Id, { manifest, layers, replaced, digest }: Manifest): Promise<boolean> {
  const createdAt = site.clock.now();
  return commitManifest(site, vpgId, {
    ...manifestFormat(digest),
    ...{ vpgId, manifest: manifest + 1, createdAt, layers },
    replaced: replaced.filter(({ replacedAt }) => replacedAt + limits.replacedKeptMs > createdAt),
  });
}

type Verdict = "live" | "dead" | "leaked" | "gone" | "gone-leak";

async function classify(
  site: Site,
  vpgId: Id,
  { manifest, digest }: Standing,
): Promise<Omit<Collected, "deletedObjects"> & { readonly gone: readonly string[] }> {
  const now = site.clock.now();
  const isOld = (time: number): boolean => time + limits.replacedKeptMs <= now;
  const gone: string[] = [];
  const bytes: Record<Verdict, number> = { live: 0, dead: 0, leaked: 0, gone: 0, "gone-leak": 0 };
  const sort = async (prefix: string, verdictOf: (object: ObjectInfo) => Verdict): Promise<void> => {
    for await (const object of listAll(site.objects, prefix)) {
      if (gone.length === limits.deletedMax) return;
      const verdict = verdictOf(object);
      bytes[verdict] += object.size;
      if (verdict === "gone" || verdict === "gone-leak") gone.push(object.key);
    }
  };
  const packOver = (session: number, batch: number): Pack | undefined => packAt(digest?.packsOf(session) ?? [], batch);
  const leak = (id: string): Verdict => (isOld(ulidTime(id)) ? "gone-leak" : "leaked");

  await sort(journalPrefix(vpgId), ({ key }) => {
    const place = parseBatchKey(key);
    const pack = place && packOver(place.session, place.batch);
    if (pack === undefined) return "live";
    return isOld(pack.packedAt) ? "gone" : "dead";
  });
  await sort(packsPrefix(vpgId), ({ key }) => {
    const place = parsePackKey(key);
    if (place === undefined) return "live";
    const pack = packOver(place.session, place.batch);
    if (pack === undefined) return leak(place.packId);
    if (pack.packId === place.packId) return "live";
    return isOld(pack.packedAt) && isOld(ulidTime(place.packId)) ? "gone" : "dead";
  });
  const named = new Set(manifest?.layers.map(({ layerId }) => layerId));
  const replaced = new Map(manifest?.replaced.map(({ layerId, replacedAt }) => [layerId, replacedAt]));
  await sort(layersPrefix(vpgId), ({ key }) => {
    const layerId = parseLayerPartKey(key)?.layerId;
    if (layerId === undefined || named.has(layerId)) return "live";
    const at = replaced.get(layerId);
    if (at !== undefined) return isOld(at) ? "gone" : "dead";
    return leak(layerId);
  });
  const current = digest === undefined ? undefined : digestKey(vpgId, digest.fields.digestId);
  const madeAt = digest?.fields.madeAt ?? 0;
  await sort(digestsPrefix(vpgId), ({ key }) => {
    const id = parseDigestKey(key)?.digestId;
    if (id === undefined || key === current) return "live";
    return isOld(ulidTime(id)) && madeAt >= ulidTime(id) ? "gone" : "dead";
  });
  const oldest = (manifest?.manifest ?? 0) - limits.manifestsKept;
  await sort(manifestPrefix(vpgId), ({ key }) =>
    (parseManifestKey(key)?.manifest ?? oldest) < oldest ? "gone" : "live",
  );
  const deletedBytes = bytes.gone + bytes["gone-leak"];
  const leakedBytes = bytes.leaked + bytes["gone-leak"];
  return { liveBytes: bytes.live, deadBytes: bytes.dead, leakedBytes, deletedBytes, gone };
}
