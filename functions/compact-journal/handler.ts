import { z } from "zod";
import { compactJournals } from "#core/compaction/compact.ts";
import { retainJournals } from "#core/retention/retain.ts";
import { taskHandler } from "../shared/task-handler.ts";

/**
 * On a schedule, every minute: merges old batches' indexes into layers, so that a view of a long history opens like one of a short;
 * then lets go of the checkpoints that retention no longer keeps, and puts packs in place of old batches. One function, since each of
 * them ends in the next manifest.
 */
export const handler = taskHandler(z.unknown(), async (site) => ({
  compacted: await compactJournals(site),
  retained: await retainJournals(site),
}));
