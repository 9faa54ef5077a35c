import { checkStep } from "#core/recovery/command-step.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { stepInput } from "../shared/task-input.ts";

/** After every wait for a gateway: what became of the step, by the command's record. `CommandRunning` leads back to the wait. */
export const handler = taskHandler(stepInput, async (site, { operationId, step }) => {
  await checkStep(site, operationId, step);
  return {};
});
