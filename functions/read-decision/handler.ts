import { readDecision } from "#core/recovery/route.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** Opens the time for a decision and says what was decided, or how long to wait; by the deadline it decides by the policy. */
export const handler = taskHandler(operationInput, (site, { operationId }) => readDecision(site, operationId));
