import type { Id } from "#core/ids.ts";
import { bytesEqual, sha256 } from "#core/journal/hash.ts";
import { type SyncPagePlace, syncPageKey } from "#core/journal/keys.ts";
import { toldDamage } from "#core/protection/image-hashes.ts";
import { journalReader } from "#core/protection/table-journal.ts";
import { getOperation, hasEnded, vpgOf } from "#core/recovery/operation-store.ts";
import type { Site } from "#core/site.ts";
import { chunkHashes } from "#core/sync/chunk-hashes.ts";
import { hashBytes, pageObjectBytesMax } from "#core/sync/limits.ts";
import { decodePageHashes, encodePageWants } from "#core/sync/page-object.ts";

/**
 * Task compare-page: reads again what this site's journal holds of a page, compares its hashes with those that the gateway
 * sent, and leaves the want-list. Nothing is taken for equal but what was read and hashed here: what of the journal is damaged is
 * wanted, and where the store doesn't answer it throws, and then there is no want-list, as there is none once the delta-sync has ended.
 * `pause` is called between pieces of work. Safe to repeat; who asks in the same process while a page is compared waits for that.
 */
export function comparePage(
  site: Site,
  operationId: Id,
  place: SyncPagePlace,
  pause: () => Promise<void>,
): Promise<void> {
  const ofSite = underWay.get(site) ?? new Map<string, Promise<void>>();
  underWay.set(site, ofSite);
  const name = `${operationId} ${place.session} ${place.volume} ${place.page}`;
  const known = ofSite.get(name);
  if (known !== undefined) return known;
  const work = compare(site, operationId, place, pause).finally(() => ofSite.delete(name));
  ofSite.set(name, work);
  return work;
}

const underWay = new WeakMap<Site, Map<string, Promise<void>>>();

async function compare(site: Site, operationId: Id, place: SyncPagePlace, pause: () => Promise<void>): Promise<void> {
  const operation = await getOperation(site, operationId);
  if (hasEnded(operation)) return;
  const vpg = await vpgOf(site, operation);
  const { vpgId } = vpg;
  const wantsKey = syncPageKey(vpgId, operationId, place, "wants");
  if ((await site.objects.head(wantsKey)) !== undefined) return;
  const key = syncPageKey(vpgId, operationId, place, "hashes");
  const object = await site.objects.get(key, { offset: 0, length: pageObjectBytesMax });
  const { chunks, hashes, upTo, term, sizeBytes } = decodePageHashes(object);
  const { volume, page, session } = place;
  const reader = journalReader(site, vpgId);
  const damaged = toldDamage(site, vpg, volume, page);
  const at = (bytes: Uint8Array, index: number): Uint8Array =>
    bytes.subarray(index * hashBytes, (index + 1) * hashBytes);
  const sent = new Map(chunks.map((chunk, index) => [chunk, at(hashes, index)]));
  const differs = (chunk: number, hash: Uint8Array): boolean => !bytesEqual(sent.get(chunk) ?? hash, hash);
  const { hasher } = site;
  const ask = { volume, sizeBytes, page, upTo, only: chunks, pause, keeps: differs, damaged, hasher };
  const held = await chunkHashes(reader, ask);
  const wanted = chunks.filter((chunk) => differs(chunk, at(held, chunk)));
  const hashesSha256 = Buffer.from(sha256(object)).toString("hex");
  const wants = encodePageWants({ vpgId, operationId, term, session, volume, page, hashesSha256, chunks: wanted });
  await site.objects.put(wantsKey, wants, { ifAbsent: true });
}
