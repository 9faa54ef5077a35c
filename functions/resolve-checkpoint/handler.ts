import { settleCheckpoint } from "#core/recovery/begin-operation.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** Fixes the checkpoint to recover and pins it; after the source's shutdown, so that "latest" has everything. */
export const handler = taskHandler(operationInput, async (site, { operationId }) => {
  await settleCheckpoint(site, operationId);
  return {};
});
