import { z } from "zod";
import { compactJournals } from "#core/compaction/compact.ts";
import { taskHandler } from "../shared/task-handler.ts";

/** On a schedule, every minute: merges old batches' indexes into layers, so that a view of a long history opens like one of a short. */
export const handler = taskHandler(z.unknown(), (site) => compactJournals(site));
