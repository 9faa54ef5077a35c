import { nextPages } from "#core/delta-sync/next-pages.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { roundInput } from "../shared/task-input.ts";

/** The next pages of a delta-sync that wait to be compared; none when all are. */
export const handler = taskHandler(roundInput, (site, { operationId, after }) => nextPages(site, operationId, after));
