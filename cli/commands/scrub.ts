import type { Command } from "commander";
import type { VpgView } from "#core/api/site-api.ts";
import { type JournalScrub, type ScrubReport, scrubReportSchema } from "#core/scrub/view.ts";
import { formatBytes, formatDuration, formatRate } from "#core/units.ts";
import { contextOf } from "../context.ts";
import { columns, fields, type Output, result, timeText } from "../output.ts";

function journalText(journal: JournalScrub): string {
  const { coveragePercent, ageMs, startedAt, bytes, totalBytes, bytesPerSecond, findings } = journal;
  const round =
    startedAt === null ? [] : [`${formatBytes(bytes)} of ${formatBytes(totalBytes)} since ${timeText(startedAt)}`];
  const age = ageMs === null ? "no whole round yet" : `all of it within ${formatDuration(ageMs)}`;
  const rate = bytesPerSecond === 0 ? "switched off" : `at ${formatRate(bytesPerSecond)}`;
  const damage = findings === 0 ? [] : [`${findings} DAMAGED`];
  return [`${coveragePercent} % read`, ...round, age, rate, ...damage].join(", ");
}

/** For `farshore vpg show`. */
export function scrubRows({ scrub }: VpgView): (readonly [string, string])[] {
  return scrub === undefined ? [] : [["Journal scrub", journalText(scrub.journal)]];
}

function printScrub(output: Output, { journal }: ScrubReport): void {
  fields(output, [["Journal", journalText(journal)]]);
  if (journal.list.length === 0) return;
  output.line("");
  columns(
    output,
    ["DAMAGED OBJECT", "ERROR", "FOUND", "READ LAST", "WHAT"],
    journal.list.map((found) => [
      found.key,
      found.error,
      timeText(found.foundAt),
      timeText(found.readAt),
      found.message,
    ]),
  );
  if (journal.more > 0) output.line(`and ${journal.more} more`);
}

export function registerScrub(program: Command): void {
  const scrub = program
    .command("scrub")
    .description("Read back and check what is stored: the journal, a bit at a time.");

  scrub
    .command("start")
    .argument("<vpg>", "name or id of the VPG")
    .description("Begin a round now, and read as fast as can be; farshore scrub show VPG follows it.")
    .addHelpText("after", "\nExample:\n  farshore scrub start shop\n")
    .action(async (vpg: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const report = await client().post(`/v1/vpgs/${encodeURIComponent(vpg)}/scrub`, scrubReportSchema);
      result(output, report, () => printScrub(output, report));
    });

  scrub
    .command("show")
    .argument("<vpg>", "name or id of the VPG")
    .description("Show how far the scrub is, and what it found.")
    .addHelpText("after", "\nExample:\n  farshore scrub show shop\n")
    .action(async (vpg: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const report = await client().get(`/v1/vpgs/${encodeURIComponent(vpg)}/scrub`, scrubReportSchema);
      result(output, report, () => printScrub(output, report));
    });
}
