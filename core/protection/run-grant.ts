import { RunGrantRefused } from "#core/errors.ts";
import type { TableAction } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { forgottenText } from "./forgotten.ts";
import { items } from "./items.ts";
import { endedPhases, openVolumesStep, type Phase } from "./operation.ts";
import { findPhase, type SeenPhase } from "./operation-phase.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** Recovered VMs do not run yet in these; from Booting to the operation's end they may. */
const beforeBoot: readonly Phase[] = ["Starting", "ShuttingDownSource", "AttachingVolumes"];
/** Of a move, whatever is written from the proof on would be behind it. */
const beforeProof: readonly Phase[] = ["Starting", "ShuttingDownSource", "ClosingVolumes"];

/** Once a move that is undone has its source opened again, its recovered VMs are stopped. */
function mayServe({ kind, phase, steps }: SeenPhase): boolean {
  if (endedPhases.includes(phase)) return true;
  if (kind !== "move") return beforeBoot.includes(phase);
  return beforeProof.includes(phase) || (phase === "RollingBack" && steps[openVolumesStep] !== undefined);
}

/**
 * R17: a gateway that starts may serve its VMs read-write unless a live failover or a move, a forgotten one too, may have booted their recovered twins.
 * Returns conditions for the transaction that opens the session: the operation must still be where it was seen.
 * Throws `RunGrantRefused`.
 */
export async function runGrant(site: Site, vpg: VpgRecord): Promise<readonly TableAction[]> {
  if (vpg.operationId === null) {
    const [forgotten] = vpg.forgotten;
    if (forgotten === undefined) return [];
    throw new RunGrantRefused(`${vpg.definition.name}: ${forgottenText(vpg, forgotten)}`, {
      operationId: forgotten.operationId,
    });
  }
  const seen = await findPhase(site, vpg.operationId);
  if (seen !== undefined && mayServe(seen)) {
    return [{ check: items.operation(vpg.operationId), if: { rev: seen.rev } }];
  }
  throw new RunGrantRefused(
    `${vpg.definition.name} is being failed over or moved (operation ${vpg.operationId}, ${seen?.phase ?? "unknown"}): its recovered VMs ` +
      "may run. Commit it, or roll it back and start this gateway again",
    { operationId: vpg.operationId },
  );
}
