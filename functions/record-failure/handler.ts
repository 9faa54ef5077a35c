import { recordFailure } from "#core/recovery/route.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { failureInput, messageOf } from "../shared/task-input.ts";

/** Where every Catch before the decision leads: notes the error, decides that all is undone, and says where to go. */
export const handler = taskHandler(failureInput, async (site, { operationId, error }) => ({
  route: await recordFailure(site, operationId, { name: error.Error, message: messageOf(error.Cause) }),
}));
