import type { Command } from "commander";
import { type StatusReply, statusReplySchema, type VpgView } from "#core/api/site-api.ts";
import { formatBytes, formatDuration } from "#core/units.ts";
import { contextOf } from "../context.ts";
import { columns, result } from "../output.ts";

/** 0 good, 1 warning, 2 bad: bad is a VPG that could not be failed over now or a broken promise; a warning wants a look. */
export function statusExitCode(status: StatusReply): 0 | 1 | 2 {
  const bad = status.vpgs.some((vpg) => ["NotMeetingSLA", "RpoNotMeetingSLA"].includes(vpg.status));
  if (bad) return 2;
  const warning =
    status.alerts.length > 0 ||
    status.vpgs.some((vpg) => vpg.status !== "MeetingSLA" && vpg.status !== "Recovered") ||
    status.gateways.some((gateway) => !gateway.connected);
  return warning ? 1 : 0;
}

export function rpoText(vpg: VpgView): string {
  const now = vpg.rpoMs === null ? "none yet" : formatDuration(vpg.rpoMs);
  return `${now} / ${formatDuration(vpg.targetRpoMs)}`;
}

export function registerStatus(program: Command): void {
  program
    .command("status")
    .description("Show the site, its VPGs, gateways and open operations.")
    .addHelpText(
      "after",
      "\nExit status:\n  0  everything is as it should be\n  1  something wants a look\n  2  a VPG does not meet what was promised, or the site does not answer\n",
    )
    .action(async (_options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const status = await client()
        .get("/v1/status", statusReplySchema)
        .catch((error: unknown) => {
          process.exitCode = 2;
          output.note(error instanceof Error ? error.message : String(error));
        });
      if (status === undefined) return;
      process.exitCode = statusExitCode(status);
      result(output, status, () => {
        output.line(`site ${status.site.name} (${status.site.siteId}), version ${status.site.version}`);
        output.line("");
        columns(
          output,
          ["VPG", "STATUS", "SUBSTATUS", "RPO NOW/TARGET", "CHECKPOINTS", "HISTORY", "BACKLOG", "OPERATION"],
          status.vpgs.map((vpg) => [
            vpg.name,
            vpg.status,
            vpg.substatus,
            rpoText(vpg),
            String(vpg.checkpoints),
            formatDuration(vpg.historyHeldMs),
            formatBytes(vpg.backlogBytes),
            vpg.operationId ?? "-",
          ]),
        );
        for (const { name, barrierProblem } of status.vpgs) {
          if (barrierProblem !== undefined) output.line(`${name} makes no new checkpoint: ${barrierProblem}`);
        }
        output.line("");
        columns(
          output,
          ["GATEWAY", "STATE", "CLOCK SKEW", "VERSION"],
          status.gateways.map((gateway) => [
            gateway.name,
            gateway.connected ? "connected" : gateway.lastSeenAt === null ? "never seen" : "silent",
            gateway.skewMs === null ? "-" : `${gateway.skewMs} ms`,
            gateway.version ?? "-",
          ]),
        );
        if (status.alerts.length > 0) {
          output.line("");
          columns(
            output,
            ["ALERT", "WHAT", "RUNBOOK"],
            status.alerts.map(({ alertId, text, runbook }) => [alertId, text, runbook]),
          );
        }
        const open = status.operations.filter((operation) => operation.endedAt === null);
        if (open.length === 0) return;
        output.line("");
        columns(
          output,
          ["OPERATION", "KIND", "VPG", "PHASE", "BY"],
          open.map((operation) => [
            operation.operationId,
            operation.kind,
            operation.vpgName,
            operation.phase,
            operation.initiatedBy,
          ]),
        );
      });
    });
}
