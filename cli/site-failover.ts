import type { z } from "zod";
import { type SiteFailoverView, siteFailoverViewSchema, sitePlanSchema } from "#core/api/trigger-api.ts";
import type { LiveOptions } from "#core/protection/operation.ts";
import { formatDuration } from "#core/units.ts";
import { exitCodes } from "./exit.ts";
import { cliLimits } from "./limits.ts";
import { columns, type Output, result, timeText } from "./output.ts";
import type { SiteClient } from "./site-client.ts";

const pathOf = (protectedSite: string): string => `/v1/protected-sites/${encodeURIComponent(protectedSite)}`;

/** What a failover of the whole site would start, in order. */
export async function planOfSite(output: Output, client: SiteClient, protectedSite: string): Promise<void> {
  const plan = await client.get(`${pathOf(protectedSite)}/failover-plan`, sitePlanSchema);
  result(output, plan, () =>
    columns(
      output,
      ["", "VPG", "PRIORITY", "AFTER"],
      plan.vpgs.map(({ name, priority, dependsOn }, index) => [
        ...[String(index + 1), name, String(priority), dependsOn.join(" ") || "-"],
      ]),
    ),
  );
}

export interface SiteAsk {
  readonly requestId: string;
  readonly options: LiveOptions;
  readonly concurrency?: number;
}

/**
 * Fails over the whole site and follows it until every VPG is up, failed or blocked. Asking again is what goes on, so a command
 * that was cut off is repeated. Exit status 3 when not all are up.
 */
export async function failOverWholeSite(
  output: Output,
  client: SiteClient,
  protectedSite: string,
  ask: SiteAsk,
): Promise<void> {
  const shown = new Map<string, string>();
  let view: SiteFailoverView | undefined;
  for (;;) {
    // The one that was joined is followed to its end, also when somebody else's asking has brought it there.
    const requestId: string = view?.siteFailoverId ?? ask.requestId;
    view = await client.post(`${pathOf(protectedSite)}/failover`, siteFailoverViewSchema, { ...ask, requestId });
    for (const vpg of view.vpgs) {
      if (shown.get(vpg.name) === vpg.state) continue;
      shown.set(vpg.name, vpg.state);
      output.note(`${timeText(Date.now())}  ${vpg.name}: ${vpg.state}${vpg.detail === "" ? "" : ` (${vpg.detail})`}`);
    }
    if (view.endedAt !== null) break;
    await new Promise((resolve) => setTimeout(resolve, cliLimits.sitePollMs));
  }
  const done = view;
  result(output, done, () => print(output, done));
  if (done.vpgs.some(({ state }) => state !== "up")) process.exitCode = exitCodes.otherwise;
}

function print(output: Output, { protectedSite, vpgs }: z.infer<typeof siteFailoverViewSchema>): void {
  const up = vpgs.filter(({ state }) => state === "up").length;
  output.line(`${up} of ${vpgs.length} VPGs of ${protectedSite} are up.`);
  output.line("");
  columns(
    output,
    ["VPG", "STATE", "PHASE", "OPERATION", "RTO", "ERROR"],
    vpgs.map(({ name, state, phase, operationId, rtoMs, error, detail }) => [
      ...[name, state, phase ?? "-", phase === null ? "-" : operationId, rtoMs === null ? "-" : formatDuration(rtoMs)],
      error === null ? detail || "-" : `${error.name}: ${error.message}`,
    ]),
  );
}
