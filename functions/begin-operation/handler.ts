import { beginOperation } from "#core/recovery/begin-operation.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** First task of the workflows that recover: notes that a live operation begins, pins the checkpoint and says where the attempt begins. */
export const handler = taskHandler(operationInput, async (site, { operationId }) => ({
  route: await beginOperation(site, operationId),
}));
