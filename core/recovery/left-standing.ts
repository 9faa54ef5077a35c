import { NoCheckpoint } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { unpinCheckpoint } from "#core/protection/checkpoints.ts";
import type { Forgotten } from "#core/protection/forgotten.ts";
import { isLive, type Operation, type Phase } from "#core/protection/operation.ts";
import type { Site } from "#core/site.ts";
import { wasAttached } from "./scratch-leases.ts";
import { stepNames, stepOk } from "./steps.ts";

/** A view may be open as long as something was attached and neither detached nor promoted; then the pin stays (invariant 9). */
export function nothingAttached(operation: Operation): boolean {
  if (!wasAttached(operation)) return true;
  return stepOk(operation, stepNames.detachVolumes) || stepOk(operation, stepNames.promoteVolumes);
}

/**
 * What goes on holding the VPG after a live operation that failed with its volumes attached, on which its recovered VMs may run. Where
 * only the detach failed none runs, and the source may be up again: its pin is enough then.
 */
export function leftStanding(operation: Operation, phase: Phase): Forgotten | undefined {
  if (!isLive(operation) || phase !== "Failed" || nothingAttached(operation)) return undefined;
  if (stepOk(operation, stepNames.stopVms)) return undefined;
  const { operationId, kind, attempt, createdAt: startedAt } = operation;
  return { operationId, kind, attempt, startedAt, known: true, failed: true };
}

/** Drops the operation's pin, or with `leasedUntil` makes it a lease. A checkpoint that is gone holds none. */
export async function letGo(
  site: Site,
  vpgId: Id,
  checkpointId: string,
  operationId: Id,
  leasedUntil?: number,
): Promise<void> {
  try {
    await unpinCheckpoint(site, vpgId, checkpointId, operationId, leasedUntil);
  } catch (error) {
    if (!(error instanceof NoCheckpoint)) throw error;
  }
}
