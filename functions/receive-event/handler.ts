import { z } from "zod";
import { FarshoreError } from "#core/errors.ts";
import { receiveEvent } from "#core/trigger/receive-event.ts";
import { taskHandler } from "../shared/task-handler.ts";

/**
 * Called by rules of the site's bus: custom events, CloudWatch alarms, AWS Health. What can't be read is refused by name and
 * told in the log, not thrown: delivering it again would not mend it. Anything else is thrown, and delivered again.
 */
export const handler = taskHandler(z.unknown(), async (site, event) => {
  try {
    return await receiveEvent(site, event);
  } catch (error) {
    if (!(error instanceof FarshoreError) || error.kind !== "invalid") throw error;
    site.log.warn("event-refused", { error: error.name, message: error.message, details: error.details });
    return { refused: error.name };
  }
});
