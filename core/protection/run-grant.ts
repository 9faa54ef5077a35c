import { z } from "zod";
import { RunGrantRefused } from "#core/errors.ts";
import { checkStored } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { items } from "./items.ts";
import { endedPhases, type Phase, phases } from "./operation.ts";
import type { VpgRecord } from "./vpg-record.ts";

const phaseSchema = z.object({ phase: z.enum(phases) });

/** Recovered VMs do not run yet in these; from Booting to the operation's end they may. */
const beforeBoot: readonly Phase[] = ["Starting", "ShuttingDownSource", "AttachingVolumes"];

/**
 * R17: a gateway that starts may serve its VMs read-write unless a live failover may have booted their recovered twins.
 * Returns conditions for the transaction that opens the session: the operation must still be where it was seen.
 * Throws `RunGrantRefused`.
 */
export async function runGrant(site: Site, vpg: VpgRecord): Promise<readonly TableAction[]> {
  if (vpg.operationId === null) return [];
  const key = items.operation(vpg.operationId);
  const item = await site.table.get(key);
  const phase = item && checkStored(phaseSchema, item.fields, "an operation's item").phase;
  if (item !== undefined && phase !== undefined && [...beforeBoot, ...endedPhases].includes(phase)) {
    return [{ check: key, if: { rev: item.rev } }];
  }
  throw new RunGrantRefused(
    `${vpg.definition.name} is being failed over (operation ${vpg.operationId}, ${phase ?? "unknown"}): its recovered VMs ` +
      "may run. Commit the failover, or roll it back and start this gateway again",
    { operationId: vpg.operationId },
  );
}
