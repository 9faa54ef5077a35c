import { z } from "zod";
import { reconcile } from "#core/recovery/reconcile.ts";
import { taskHandler } from "../shared/task-handler.ts";

/** On a schedule, every minute: looks after operations whose execution is gone, and clears the gateways' queues. */
export const handler = taskHandler(z.unknown(), (site) => reconcile(site));
