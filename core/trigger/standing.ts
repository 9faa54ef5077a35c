import type { Id } from "#core/ids.ts";
import type { Phase } from "#core/protection/operation.ts";
import { findPhase } from "#core/protection/operation-phase.ts";
import type { Site } from "#core/site.ts";
import { mayStart } from "./judge.ts";
import type { Standing } from "./order.ts";
import type { Supervised } from "./supervise.ts";

/** Where a VPG stands whose live failover or move is in that phase. From BeforeCommit on its VMs run, so others may rely on it. */
export function standingInPhase(phase: Phase): Standing {
  switch (phase) {
    case "Starting":
    case "ShuttingDownSource":
    case "ClosingVolumes":
    case "ProvingFinal":
    case "AttachingVolumes":
    case "Booting":
    case "Retargeting":
      return "running";
    case "BeforeCommit":
    case "Committing":
    case "Promoting":
    case "Completed":
      return "up";
    case "RetargetFailed":
    case "RollingBack":
    case "RolledBack":
    case "Failed":
    case "TestRunning":
    case "TestStopping":
    case "HashingVolumes":
    case "ComparingPages":
    case "ShippingWanted":
    case "VerifyingSync":
    case "Offering":
    case "Protecting":
    case "Withdrawing":
      return "failed";
  }
}

/** Where a VPG stands among those that triggers fail over. */
export async function standingOf(site: Site, { vpg, watch, incident, sight }: Supervised): Promise<Standing> {
  const { operationId, role, definition } = vpg;
  if (operationId !== null) return phaseStanding(site, operationId);
  if (role !== "Journal") return "up";
  if (vpg.forgotten.length > 0) return "held";
  const { policy } = definition.trigger;
  const deciding = policy === "approve" || policy === "automatic";
  if (incident === undefined || incident.state === "closed") {
    if (watch.silence === null || !deciding) return "free";
    // Silent, and what would have brought it up is over: who depends on it can't rely on it.
    return watch.armed ? "held" : "failed";
  }
  if (incident.state === "started") return phaseStanding(site, incident.incidentId);
  if (incident.state === "ready" && mayStart(watch, incident, definition) && sight.recoverySilent === null)
    return "pending";
  return deciding ? "held" : "free";
}

async function phaseStanding(site: Site, operationId: Id): Promise<Standing> {
  const seen = await findPhase(site, operationId);
  return seen === undefined ? "running" : standingInPhase(seen.phase);
}
