import { z } from "zod";
import { collectJournals } from "#core/retention/collect.ts";
import { taskHandler } from "../shared/task-handler.ts";

/** On a schedule: deletes what retention has replaced and killed runs have left. Nothing else deletes from the journal. */
export const handler = taskHandler(z.unknown(), (site) => collectJournals(site));
