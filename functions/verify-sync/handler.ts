import { verifySync } from "#core/delta-sync/verify.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** Whether the first checkpoint behind the sync is listed. */
export const handler = taskHandler(operationInput, (site, { operationId }) => verifySync(site, operationId));
