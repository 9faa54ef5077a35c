import { RunGrantRefused } from "#core/errors.ts";
import type { TableAction } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { items } from "./items.ts";
import { endedPhases, type Phase } from "./operation.ts";
import { findPhase } from "./operation-phase.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** Recovered VMs do not run yet in these; from Booting to the operation's end they may. */
const beforeBoot: readonly Phase[] = ["Starting", "ShuttingDownSource", "AttachingVolumes"];

/**
 * R17: a gateway that starts may serve its VMs read-write unless a live failover may have booted their recovered twins.
 * Returns conditions for the transaction that opens the session: the operation must still be where it was seen.
 * Throws `RunGrantRefused`.
 */
export async function runGrant(site: Site, vpg: VpgRecord): Promise<readonly TableAction[]> {
  if (vpg.operationId === null) return [];
  const seen = await findPhase(site, vpg.operationId);
  if (seen !== undefined && [...beforeBoot, ...endedPhases].includes(seen.phase)) {
    return [{ check: items.operation(vpg.operationId), if: { rev: seen.rev } }];
  }
  throw new RunGrantRefused(
    `${vpg.definition.name} is being failed over (operation ${vpg.operationId}, ${seen?.phase ?? "unknown"}): its recovered VMs ` +
      "may run. Commit the failover, or roll it back and start this gateway again",
    { operationId: vpg.operationId },
  );
}
