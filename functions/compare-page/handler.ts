import { setImmediate } from "node:timers/promises";
import { comparePage } from "#core/delta-sync/compare-page.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { pageInput } from "../shared/task-input.ts";

/** One page of a delta-sync: reads what the journal holds of it, compares, and leaves the want-list. */
export const handler = taskHandler(pageInput, async (site, { operationId, page }) => {
  await comparePage(site, operationId, page, setImmediate);
  return {};
});
