import { protectionLimits as limits } from "#core/protection/limits.ts";
import { isLive, type Operation } from "#core/protection/operation.ts";
import { stepNames, stepOk } from "./steps.ts";

/** True when something was attached, or may have been. */
export function wasAttached({ steps }: Operation): boolean {
  const attach = steps[stepNames.attachVolumes];
  return attach !== undefined && attach.state !== "skipped";
}

/**
 * Checkpoint to until when a scratch of the operation over it is kept, and so the checkpoint (invariant 9): what was not written
 * over it reads from the journal. Counted from what follows the detach, so never shorter than the gateway keeps it. `now` is
 * the end of an operation that has not ended yet.
 */
export function scratchLeases(operation: Operation, now: number): ReadonlyMap<string, number> {
  const { checkpointId, retargets, endedAt } = operation;
  const leases = new Map<string, number>();
  // A test's scratch goes with its detach.
  if (!isLive(operation)) return leases;
  for (const { from, switchedAt } of retargets) {
    if (switchedAt !== null) leases.set(from.checkpointId, switchedAt + limits.scratchKeptMs);
  }
  if (checkpointId !== null && wasAttached(operation) && stepOk(operation, stepNames.detachVolumes)) {
    leases.set(checkpointId, (endedAt ?? now) + limits.scratchKeptMs);
  }
  return leases;
}
