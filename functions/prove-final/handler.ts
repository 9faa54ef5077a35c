import { proveFinal } from "#core/recovery/prove-final.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** Of a move: that nothing lies behind what the closed source gateways ended their sessions with. */
export const handler = taskHandler(operationInput, async (site, { operationId }) => {
  await proveFinal(site, operationId);
  return {};
});
