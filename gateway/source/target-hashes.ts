import type { Id } from "#core/ids.ts";
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

/** Where a delta-sync of the site is told hashes and asked for wants. */
export function planSiteOf(site: Pick<SiteClient, "putPageHashes" | "pageWants">): PlanSite {
  return {
    putPageHashes: ({ place, object }, signal) => site.putPageHashes(place.operationId, place, object, signal),
    pageWants: ({ place }, signal) => site.pageWants(place.operationId, place, signal),
  };
}
