import { takeOver } from "#core/recovery/commit.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** Commit: claims the next term for this site (R9). Behind this nothing is rolled back. */
export const handler = taskHandler(operationInput, async (site, { operationId }) => {
  await takeOver(site, operationId);
  return {};
});
