import { OperationInProgress } from "#core/errors.ts";
import { jsonBytes } from "#core/json.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { assertNoneForgotten } from "./forgotten.ts";
import { unindexGateways } from "./gateway-index.ts";
import { items } from "./items.ts";
import { bucketKeys } from "./keys.ts";
import { sealSessionsOf } from "./seal.ts";
import { tryAgain } from "./try-again.ts";
import { findByRef, noVpg, updateVpg, type VpgRecord } from "./vpg-store.ts";

/**
 * Ends protection: hides the VPG, seals every session, frees the name. Its journal goes a week later (core/retention). Cut off anywhere, asking again
 * finishes it. Throws `OperationInProgress` while a failover or a test is open, or a forgotten one may be.
 */
export async function deleteVpg(site: Site, caller: Caller, ref: string): Promise<void> {
  const record = await tryAgain(`VPG ${ref}`, () => hide(site, ref));
  const { vpgId } = record;
  const { name } = record.definition;
  const deleted = { vpgId, name, deletedAt: site.clock.now(), deletedBy: callerText(caller) };
  await site.objects.put(bucketKeys.deletedVpg(vpgId), jsonBytes(deleted), { ifAbsent: true });
  for (let term = 1; term <= record.term; term += 1) await sealSessionsOf(site, record, term, "vpg-deleted");
  const named = await site.table.get(items.vpgName(name));
  if (named?.fields["vpgId"] === vpgId) {
    await site.table.transact([{ delete: items.vpgName(name), if: { rev: named.rev } }]);
  }
  site.log.info("vpg-deleted", { vpgId, name, initiatedBy: callerText(caller) });
}

/** Hidden first: from here on no session opens, so that all of them can be sealed. */
async function hide(site: Site, ref: string): Promise<VpgRecord> {
  const record = await findByRef(site, ref);
  if (record === undefined) throw noVpg(ref);
  if (record.deleted) return record;
  const { name } = record.definition;
  const busy = record.operationId ?? record.openTests[0] ?? null;
  if (busy !== null) {
    throw new OperationInProgress(
      `${name} has an open operation ${busy}; end it (failover commit or rollback, failover test stop), then delete`,
      { operationId: busy },
    );
  }
  assertNoneForgotten(record);
  return updateVpg(site, record, { deleted: true }, unindexGateways(record.definition));
}
