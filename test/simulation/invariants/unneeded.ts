import { BucketJournal } from "#core/journal/bucket-journal.ts";
import {
  batchKey,
  digestKey,
  digestsPrefix,
  journalPrefix,
  layersPrefix,
  packKey,
  packsPrefix,
  parseBatchKey,
  parseLayerPartKey,
} from "#core/journal/keys.ts";
import { newestManifestInBucket } from "#core/journal/manifest.ts";
import { listAll } from "#core/list-all.ts";
import type { Protection } from "../protection.ts";

/**
 * Objects of the VPG's journal, at the site that has it, that neither the offline reader nor the newest manifest names. Seals and what
 * was put behind them are nobody's to delete.
 */
export async function unneededObjects(protection: Protection): Promise<readonly string[]> {
  const { site, vpg } = await protection.seat();
  if (vpg?.role !== "Journal" || vpg.definition.retention === undefined) return [];
  const { vpgId } = vpg;
  const journal = await BucketJournal.open(site.objects, vpgId);
  const manifest = await newestManifestInBucket(site.objects, vpgId);
  const needed = new Set<string>();
  const ends = new Map<number, number>();
  for (const { claim, batches } of journal.sessions) {
    for (const ref of batches) {
      const place = { vpgId, ...ref };
      needed.add(ref.pack === undefined ? batchKey(place) : packKey(place, ref.pack));
      ends.set(claim.session, ref.batch);
    }
  }
  if (journal.digest !== undefined) needed.add(digestKey(vpgId, journal.digest.fields.digestId));
  const layers = new Set(manifest?.layers.map(({ layerId }) => layerId));
  const isNeeded = (key: string): boolean => {
    const place = parseBatchKey(key);
    if (place !== undefined) return needed.has(key) || place.batch > (ends.get(place.session) ?? -1);
    const part = parseLayerPartKey(key);
    return part === undefined ? needed.has(key) : layers.has(part.layerId);
  };
  const unneeded: string[] = [];
  for (const prefix of [journalPrefix(vpgId), packsPrefix(vpgId), layersPrefix(vpgId), digestsPrefix(vpgId)]) {
    for await (const { key } of listAll(site.objects, prefix)) if (!isNeeded(key)) unneeded.push(key);
  }
  return unneeded;
}
