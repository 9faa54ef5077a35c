import { endOperation } from "#core/recovery/end-operation.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** Last task of both workflows: report, pin, VPG; says how the operation ended. */
export const handler = taskHandler(operationInput, (site, { operationId }) => endOperation(site, operationId));
