import { OperationInProgress } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { termsOf } from "#core/protection/terms.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import type { Site } from "#core/site.ts";
import { findOperation } from "./operation-store.ts";
import { stepNames, stepOk } from "./steps.ts";

/** The operation that brought the VPG here: it minted the first of the newest terms that this site runs. */
export async function promoterOf(site: Site, { vpgId }: VpgRecord): Promise<Id | null> {
  const terms = await termsOf(site, vpgId);
  const before = terms.findLastIndex(({ runs }) => runs !== site.siteId);
  return terms[before + 1]?.operationId ?? null;
}

/**
 * Disks that read from this site's journal still can't be captured: nothing is offered before the commit that began has filled them.
 * Throws `OperationInProgress`. One that no table knows any more is judged by its gateway.
 */
export async function assertPromoted(site: Site, vpg: VpgRecord): Promise<void> {
  const operationId = await promoterOf(site, vpg);
  const promoter = operationId === null ? undefined : await findOperation(site, operationId);
  if (promoter === undefined || stepOk(promoter, stepNames.promoteVolumes)) return;
  throw new OperationInProgress(
    `${vpg.definition.name} was committed and its disks are not complete: farshore operation retry ${promoter.operationId} goes on, then ask again`,
    { operationId: promoter.operationId },
  );
}
