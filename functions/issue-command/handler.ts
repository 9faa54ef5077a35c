import { issueStep } from "#core/recovery/command-step.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { commandInput } from "../shared/task-input.ts";

/** Gives a gateway the command of one step and leaves the token where the gateway's report finds it. Doesn't wait. */
export const handler = taskHandler(commandInput, async (site, { operationId, step, taskToken }) => {
  await issueStep(site, operationId, step, taskToken);
  return {};
});
