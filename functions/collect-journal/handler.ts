import { z } from "zod";
import { collectJournals } from "#core/retention/collect.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import { purgeDeletedVpgs } from "#core/retention/purge-deleted.ts";
import { taskHandler } from "../shared/task-handler.ts";

/**
 * On a schedule: deletes what retention has replaced, what killed runs have left, and the journals of VPGs that were deleted a while
 * ago. Nothing else deletes from the journal. What is broken in one journal keeps no other waiting.
 */
export const handler = taskHandler(z.unknown(), async (site) => {
  const deadline = site.clock.monotonic() + retentionLimits.runMs;
  const [collecting, purging] = [collectJournals(site), purgeDeletedVpgs(site, deadline)];
  const ends = await Promise.allSettled([collecting, purging]);
  const troubles = ends.flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
  if (troubles.length > 1) throw new AggregateError(troubles, "neither the collection nor the purge went through");
  return { collected: await collecting, purged: await purging };
});
