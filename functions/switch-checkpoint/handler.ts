import { switchCheckpoint } from "#core/recovery/retarget.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** Makes the checkpoint of a retarget the operation's, once nothing of the one before is attached any more. */
export const handler = taskHandler(operationInput, async (site, { operationId }) => {
  await switchCheckpoint(site, operationId);
  return {};
});
