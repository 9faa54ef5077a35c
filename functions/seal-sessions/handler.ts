import { sealOldTerm } from "#core/recovery/commit.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** Commit: ends the old term's sessions (R8) and measures what was left behind. */
export const handler = taskHandler(operationInput, async (site, { operationId }) => {
  await sealOldTerm(site, operationId);
  return {};
});
