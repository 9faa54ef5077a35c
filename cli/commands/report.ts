import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { InvalidInput } from "#core/errors.ts";
import { type Report, reportSchema } from "#core/recovery/report.ts";
import { formatDuration } from "#core/units.ts";
import { type Context, contextOf } from "../context.ts";
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

interface ShowFlags {
  readonly html?: true;
  readonly output?: string;
}

/** The report as a page: on standard output, or into a new file. */
async function showPage({ client, output }: Context, path: string, file: string | undefined): Promise<void> {
  if (file === undefined) {
    if (output.json) throw new InvalidInput("a page is no JSON: leave --json or --html out, or give --output");
    output.line(new TextDecoder().decode(await client().octets(path)).trimEnd());
    return;
  }
  const page = await client().octets(path);
  await writeFile(file, page, { flag: "wx" }).catch((cause: Error) => {
    throw new InvalidInput(`the page can't be written: ${cause.message}`, { field: "output" }, { cause });
  });
  result(output, { output: file, bytes: page.length }, () => output.line(file));
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
    .option("--html", "as a page to read in a browser or to print; it needs nothing else")
    .option("--output <file>", "where to write the page; must not exist (default: standard output)")
    .addHelpText("after", "\nExample:\n  farshore report show ID --html --output report.html\n")
    .action(async (id: string, { html, output: file }: ShowFlags, command: Command) => {
      const context = contextOf(command);
      const path = `/v1/reports/${encodeURIComponent(id)}`;
      if (html === true) return showPage(context, `${path}/html`, file);
      if (file !== undefined) throw new InvalidInput("--output is for a page: add --html", { field: "output" });
      const report = await context.client().get(path, reportSchema);
      result(context.output, report, () => print(context.output, report));
    });
}
