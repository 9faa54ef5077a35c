import type { Command } from "commander";
import { type StatusReply, statusReplySchema, type VpgView } from "#core/api/site-api.ts";
import { formatBytes, formatDuration, formatRate } from "#core/units.ts";
import { reachability } from "../ask-peer.ts";
import { contextOf } from "../context.ts";
import { columns, result } from "../output.ts";
import { peerColumns, peerToken } from "./site-peer.ts";

/** What of a site's status decides over the exit status. */
interface Judged {
  readonly alerts: readonly unknown[];
  readonly vpgs: readonly Pick<VpgView, "status">[];
  readonly gateways: readonly Pick<StatusReply["gateways"][number], "connected">[];
}

/** 0 good, 1 warning, 2 bad: bad is a VPG that could not be failed over now or a broken promise; a warning wants a look. */
export function statusExitCode(status: Judged): 0 | 1 | 2 {
  const bad = status.vpgs.some((vpg) => ["NotMeetingSLA", "RpoNotMeetingSLA"].includes(vpg.status));
  if (bad) return 2;
  const warning =
    status.alerts.length > 0 ||
    status.vpgs.some((vpg) => vpg.status !== "MeetingSLA" && vpg.status !== "Recovered") ||
    status.gateways.some((gateway) => !gateway.connected);
  return warning ? 1 : 0;
}

/** A VPG that is not journaled here has no RPO here. */
export function rpoText(vpg: Pick<VpgView, "role" | "rpoMs" | "targetRpoMs">): string {
  if (vpg.role !== "Journal" && vpg.role !== "Preparing") return "-";
  const now = vpg.rpoMs === null ? "none yet" : formatDuration(vpg.rpoMs);
  return `${now} / ${formatDuration(vpg.targetRpoMs)}`;
}

interface StatusOptions {
  readonly peers?: true;
  readonly peerToken?: string;
}

export function registerStatus(program: Command): void {
  program
    .command("status")
    .option("--peers", "ask each peer of the site whether it is there")
    .addOption(peerToken())
    .description("Show the site, its VPGs, gateways, peers and open operations.")
    .addHelpText(
      "after",
      "\nExit status:\n  0  everything is as it should be\n  1  something wants a look\n  2  a VPG does not meet what was promised, or the site does not answer\n",
    )
    .addHelpText("after", "\nExamples:\n  farshore status\n  farshore status --json | jq .vpgs\n")
    .action(async (options: StatusOptions, command: Command) => {
      const { output, client } = contextOf(command);
      const status = await client()
        .get("/v1/status", statusReplySchema)
        .catch((error: unknown) => {
          process.exitCode = 2;
          output.note(error instanceof Error ? error.message : String(error));
        });
      if (status === undefined) return;
      const asked = await Promise.all(
        options.peers === true ? status.peers.map((peer) => reachability(peer, options.peerToken)) : [],
      );
      const lost = asked.some(({ reachable }) => reachable === false);
      process.exitCode = statusExitCode(status) || Number(lost);
      result(output, options.peers === true ? { ...status, reach: asked } : status, () => {
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
        for (const { name, barrierProblem, throttleBytesPerSecond } of status.vpgs) {
          if (throttleBytesPerSecond !== undefined) {
            output.line(
              `${name} ships at most ${formatRate(throttleBytesPerSecond)} (farshore gateway throttle, or a schedule)`,
            );
          }
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
        if (status.peers.length > 0) {
          output.line("");
          peerColumns(output, status.peers, asked);
        }
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
