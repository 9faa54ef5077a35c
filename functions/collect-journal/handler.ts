import { z } from "zod";
import { collectJournals } from "#core/retention/collect.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import { purgeDeletedVpgs } from "#core/retention/purge-deleted.ts";
import { taskHandler } from "../shared/task-handler.ts";

/**
 * On a schedule: deletes what retention has replaced, what killed runs have left, and the journals of VPGs that were deleted a while
 * ago. Nothing else deletes from the journal.
 */
export const handler = taskHandler(z.unknown(), async (site) => {
  const deadline = site.clock.monotonic() + retentionLimits.runMs;
  return { collected: await collectJournals(site), purged: await purgeDeletedVpgs(site, deadline) };
});
