import { nextBootStep } from "#core/recovery/boot-groups.ts";
import { taskHandler } from "../shared/task-handler.ts";
import { operationInput } from "../shared/task-input.ts";

/** The step of the next boot group and the seconds to wait before it, or the step "none" after the last. */
export const handler = taskHandler(operationInput, (site, { operationId }) => nextBootStep(site, operationId));
