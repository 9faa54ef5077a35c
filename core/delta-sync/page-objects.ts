import { Diverged, Forbidden, InvalidInput, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { bytesEqual } from "#core/journal/hash.ts";
import { type SyncPagePlace, syncPageKey } from "#core/journal/keys.ts";
import { isSourceGateway } from "#core/protection/definition.ts";
import type { Operation } from "#core/protection/operation.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import { getOperation, hasEnded, vpgOf } from "#core/recovery/operation-store.ts";
import type { Caller, Site } from "#core/site.ts";
import { pageObjectBytesMax } from "#core/sync/limits.ts";
import { decodePageHashes } from "#core/sync/page-object.ts";

/** The delta-sync as a source gateway of its VPG may speak of it. Throws `NotFound`, `Forbidden`, `InvalidInput` when it has ended. */
async function syncOf(
  site: Site,
  caller: Caller,
  operationId: Id,
): Promise<{ readonly operation: Operation; readonly vpg: VpgRecord }> {
  const operation = await getOperation(site, operationId);
  if (operation.kind !== "delta-sync") throw new NotFound(`operation ${operationId} is no delta-sync`, { operationId });
  const vpg = await vpgOf(site, operation);
  if (!isSourceGateway(vpg.definition, caller.gatewayId)) {
    throw new Forbidden(`${operation.vpgName} is not captured by this gateway`);
  }
  if (hasEnded(operation)) throw new InvalidInput(`operation ${operationId} has ended as ${operation.phase}`);
  return { operation, vpg };
}

/**
 * Takes the hashes of a page from the gateway that read it. Once they are here they stay: the same again is answered alike,
 * others for the same place are `Diverged`. Throws `InvalidInput` for what isn't that place's, as `syncOf` does.
 */
export async function putPageHashes(
  site: Site,
  caller: Caller,
  operationId: Id,
  place: SyncPagePlace,
  body: Uint8Array,
): Promise<void> {
  const { vpg } = await syncOf(site, caller, operationId);
  const told = decodePageHashes(body);
  const own = told.vpgId === vpg.vpgId && told.operationId === operationId && told.term === vpg.term;
  if (!own || told.session !== place.session || told.volume !== place.volume || told.page !== place.page) {
    throw new InvalidInput(`these are not the hashes of page ${place.page} of volume ${place.volume}`, {
      field: "body",
    });
  }
  const key = syncPageKey(vpg.vpgId, operationId, place, "hashes");
  if ((await site.objects.put(key, body, { ifAbsent: true })) === "created") {
    site.pageArrived?.(operationId, place);
    return;
  }
  if (!bytesEqual(await site.objects.get(key), body)) {
    throw new Diverged(`page ${place.page} of volume ${place.volume} was hashed already, with another outcome`);
  }
}

/** A page's want-list. Throws `NotFound` while there is none, and as `syncOf` does. */
export async function getPageWants(
  site: Site,
  caller: Caller,
  operationId: Id,
  place: SyncPagePlace,
): Promise<Uint8Array> {
  const { vpg } = await syncOf(site, caller, operationId);
  const key = syncPageKey(vpg.vpgId, operationId, place, "wants");
  return site.objects.get(key, { offset: 0, length: pageObjectBytesMax });
}
