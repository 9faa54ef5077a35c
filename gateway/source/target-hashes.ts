import { type Id, newId } from "#core/ids.ts";
import type { Clock, Random } from "#core/ports.ts";
import type { SiteClient } from "../control/site-client.ts";
import type { PlanSite } from "../sync/planner.ts";
import type { TargetHashes } from "../sync/volume-sync.ts";

/** Hashes of what a site's journal holds of a VPG. */
export function targetHashes(site: Pick<SiteClient, "hashes">, vpgId: () => Id): TargetHashes {
  return async ({ journalVolume: volume, blocksOf, ...ask }, signal) => {
    const which = blocksOf === undefined ? {} : { blocksOf: [...blocksOf] };
    return await site.hashes({ vpgId: vpgId(), volume, ...ask, ...which }, signal);
  };
}

/** Where a delta-sync of the site is asked for, told hashes, and asked for wants. */
export function planSiteOf(
  site: Pick<SiteClient, "putPageHashes" | "pageWants">,
  clock: Clock,
  random: Random,
): PlanSite {
  return {
    newRequestId: () => newId(clock, random),
    putPageHashes: ({ place, object }, signal) => site.putPageHashes(place.operationId, place, object, signal),
    pageWants: ({ place }, signal) => site.pageWants(place.operationId, place, signal),
  };
}
