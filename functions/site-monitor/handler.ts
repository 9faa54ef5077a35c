import { z } from "zod";
import { siteFigures } from "#core/recovery/site-figures.ts";
import { siteStatus } from "#core/recovery/site-status.ts";
import { triggerLimits as limits } from "#core/trigger/limits.ts";
import { monitor } from "#core/trigger/monitor.ts";
import { configuredHost } from "../shared/site.ts";
import { taskHandler } from "../shared/task-handler.ts";

/** How often the schedule calls; the rule that calls says so in its constant input. */
const input = z.object({ everyMs: z.int().min(limits.lookEveryMsMin).max(limits.lookEveryMsMax) });

/**
 * On a schedule: looks after the sources of all VPGs, starts what triggers made ready, goes on with site failovers, tells people;
 * then tells the host how the site is.
 */
export const handler = taskHandler(input, async (site, { everyMs }) => {
  await monitor(site, everyMs);
  configuredHost().measure?.(siteFigures(await siteStatus(site)));
});
