import type { StreamState } from "#core/api/gateway-api.ts";
import type { Id } from "#core/ids.ts";
import type { Site } from "#core/site.ts";
import { findPhase } from "./operation-phase.ts";
import { findVpg, type VpgRecord } from "./vpg-store.ts";

/** A source gateway that keeps disks of the VPG closed although no operation here wants it. */
export interface ClosedSource {
  readonly gateway: string;
  readonly operationId: Id;
  /** `forgotten`: an operation of this VPG that the site lost with its table; `before`: one of another VPG, which had these disks. */
  readonly of: "forgotten" | "before";
}

/** What a source gateway captures, by its last heartbeat. */
interface HeardSource {
  readonly name: string;
  readonly streams: readonly StreamState[];
}

/** Those of a VPG that is journaled here and has no operation. What an operation of it that is known here closed, it opens itself. */
export async function closedSources(
  site: Site,
  vpg: VpgRecord,
  sources: readonly HeardSource[],
): Promise<readonly ClosedSource[]> {
  if (vpg.role !== "Journal" || vpg.operationId !== null || vpg.deleted) return [];
  const closed: ClosedSource[] = [];
  for (const { name, streams } of sources) {
    const own = streams.find(({ vpgId }) => vpgId === vpg.vpgId);
    if (own === undefined) {
      for (const { vpgId, closedBy } of streams) {
        if (closedBy === undefined || !(await isGone(site, vpgId))) continue;
        closed.push({ gateway: name, operationId: closedBy, of: "before" });
      }
      continue;
    }
    const { closedBy, closedFor = vpg.vpgId } = own;
    if (closedBy === undefined) continue;
    if (closedFor !== vpg.vpgId) closed.push({ gateway: name, operationId: closedBy, of: "before" });
    else if ((await findPhase(site, closedBy)) === undefined)
      closed.push({ gateway: name, operationId: closedBy, of: "forgotten" });
  }
  return closed;
}

/** A sentence for people, with the verb that ends it. */
export function closedText({ definition: { name } }: VpgRecord, { gateway, operationId, of }: ClosedSource): string {
  return of === "forgotten"
    ? `gateway ${gateway} is closed by move ${operationId}, which this site does not know: farshore move resume ${name}, then commit it or roll it back`
    : `gateway ${gateway} has disks that operation ${operationId} closed, as those of another VPG: if nothing else runs its VMs, farshore gateway open-volumes NAME --config FILE at its machine`;
}

async function isGone(site: Site, vpgId: Id): Promise<boolean> {
  return (await findVpg(site, vpgId))?.deleted !== false;
}
