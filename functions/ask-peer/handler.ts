import { reverseStep } from "#core/recovery/reverse-step.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { stepInput } from "../shared/task-input.ts";

/** The steps of reverse protection that speak with the peer, each as far as its answer allows; the only task that calls another site. */
export const handler = taskHandler(stepInput, (site, { operationId, step }) => reverseStep(site, operationId, step));
