import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { InvalidInput } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { type Report, readReport, readReportHtml, reportSchema, vpgOfReport } from "#core/recovery/report.ts";
import { formatDuration } from "#core/units.ts";
import { type Context, contextOf } from "../context.ts";
import { openBucket } from "../offline.ts";
import { syncedRows } from "../operation-view.ts";
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
    ["Approved", approvalText(report)],
    ["From / to", `${timeText(report.startedAt)} / ${timeText(report.endedAt)}`],
    ["Checkpoint", report.checkpointId === null ? "-" : `${report.checkpointId} ${timeText(report.checkpointTime)}`],
    ["Tags", report.checkpointTags === null ? "-" : report.checkpointTags.join(", ") || "-"],
    ["RTO", report.rtoMs === null ? "-" : formatDuration(report.rtoMs)],
    ["Lost tail", report.lostTailText === "" ? "-" : report.lostTailText],
    ...syncedRows(report),
    ["Decision", report.decision === null ? "-" : `${report.decision.decision} by ${report.decision.by}`],
    ["Notes", report.decision?.notes === undefined || report.decision.notes === "" ? "-" : report.decision.notes],
    ["Error", report.error === null ? "-" : `${report.error.name}: ${report.error.message}`],
  ]);
  for (const { name, ok, text } of report.verdicts) output.line(`${ok ? "Proved" : "Not proved"}: ${name}: ${text}`);
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

function approvalText({ incident }: Report): string {
  const approval = incident?.approval ?? null;
  return approval === null ? "-" : `by ${approval.by} at ${timeText(approval.at)}`;
}

interface ShowFlags {
  readonly html?: true;
  readonly output?: string;
  readonly offline?: string;
}

/** Where a report is read from: a site, or a bucket without one. */
interface ReportSource {
  readonly report: () => Promise<Report>;
  readonly page: () => Promise<Uint8Array>;
}

function atSite({ client }: Context, id: string): ReportSource {
  const path = `/v1/reports/${encodeURIComponent(id)}`;
  return { report: () => client().get(path, reportSchema), page: () => client().octets(`${path}/html`) };
}

async function inBucket(directory: string, id: string): Promise<ReportSource> {
  const operationId = parseInput(idSchema, id);
  const bucket = { objects: await openBucket(directory) };
  const vpgId = await vpgOfReport(bucket, operationId);
  return {
    report: () => readReport(bucket, vpgId, operationId),
    page: async () => new TextEncoder().encode(await readReportHtml(bucket, vpgId, operationId)),
  };
}

/** The report as a page: on standard output, or into a new file. */
async function showPage({ output }: Context, source: ReportSource, file: string | undefined): Promise<void> {
  if (file === undefined) {
    if (output.json) throw new InvalidInput("a page is no JSON: leave --json or --html out, or give --output");
    output.line(new TextDecoder().decode(await source.page()).trimEnd());
    return;
  }
  const page = await source.page();
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
    .option("--offline <dir>", "read a site's data directory instead of asking the site: needs nothing but its bucket")
    .addHelpText(
      "after",
      "\nExamples:\n  farshore report show ID --html --output report.html\n  farshore report show ID --offline /srv/farshore/berlin\n",
    )
    .action(async (id: string, { html, output: file, offline }: ShowFlags, command: Command) => {
      const context = contextOf(command);
      const source = offline === undefined ? atSite(context, id) : await inBucket(offline, id);
      if (html === true) return showPage(context, source, file);
      if (file !== undefined) throw new InvalidInput("--output is for a page: add --html", { field: "output" });
      const report = await source.report();
      result(context.output, report, () => print(context.output, report));
    });
}
