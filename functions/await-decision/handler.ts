import { awaitDecision } from "#core/recovery/route.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { tokenInput } from "../shared/task-input.ts";

/** Leaves the token where a decision finds it. Doesn't wait, and decides nothing. */
export const handler = taskHandler(tokenInput, async (site, { operationId, taskToken }) => {
  await awaitDecision(site, operationId, taskToken);
  return {};
});
