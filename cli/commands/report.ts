import type { Command } from "commander";
import { type Report, reportSchema } from "#core/recovery/report.ts";
import { formatDuration } from "#core/units.ts";
import { contextOf } from "../context.ts";
import { columns, fields, type Output, result, timeText } from "../output.ts";

function print(output: Output, report: Report): void {
  fields(output, [
    [
      "Report of",
      `${report.operationId}, ${report.kind} of ${report.vpgName} at ${report.recoverySite}, attempt ${report.attempt}`,
    ],
    ["Outcome", report.phase],
    ["By", report.initiatedBy],
    ["Because", report.incident === null ? "-" : report.incident.reason],
    ["From / to", `${timeText(report.startedAt)} / ${timeText(report.endedAt)}`],
    ["Checkpoint", report.checkpointId === null ? "-" : `${report.checkpointId} ${timeText(report.checkpointTime)}`],
    ["RTO", report.rtoMs === null ? "-" : formatDuration(report.rtoMs)],
    ["Lost tail", report.lostTailText === "" ? "-" : report.lostTailText],
    ["Decision", report.decision === null ? "-" : `${report.decision.decision} by ${report.decision.by}`],
    ["Notes", report.decision?.notes === undefined || report.decision.notes === "" ? "-" : report.decision.notes],
    ["Error", report.error === null ? "-" : `${report.error.name}: ${report.error.message}`],
  ]);
  for (const line of report.incident?.evidence ?? []) output.line(`Evidence: ${line}`);
  output.line("");
  columns(
    output,
    ["STEP", "STATE", "STARTED", "TOOK", "RESULT"],
    report.steps.map((step) => [
      step.step,
      step.state,
      timeText(step.startedAt),
      step.endedAt === null ? "-" : formatDuration(step.endedAt - step.startedAt),
      step.error === null ? step.result : `${step.error.name}: ${step.error.message}`,
    ]),
  );
}

export function registerReport(program: Command): void {
  program
    .command("report")
    .description("Read the reports that operations leave.")
    .command("show")
    .argument("<id>", "the operation's id")
    .description(
      "Show the report of an ended operation: who, what, which checkpoint, steps, RTO, what was not recovered.",
    )
    .action(async (id: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const report = await client().get(`/v1/reports/${encodeURIComponent(id)}`, reportSchema);
      result(output, report, () => print(output, report));
    });
}
