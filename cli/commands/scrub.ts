import type { Command } from "commander";
import type { VpgView } from "#core/api/site-api.ts";
import {
  type JournalScrub,
  type ScrubReport,
  type ScrubView,
  type SourceScrub,
  scrubReportSchema,
} from "#core/scrub/view.ts";
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

function disksText(disks: SourceScrub): string {
  const { coveragePercent, comparedChunks, skippedChunks, totalChunks, ageMs, bytesPerSecond } = disks;
  const { running, differing, mended } = disks;
  const round = running ? [`${comparedChunks} of ${totalChunks} chunks in this round`] : [];
  const skipped = skippedChunks === 0 ? [] : [`${skippedChunks} skipped`];
  const age = ageMs === null ? "no whole round yet" : `all of it within ${formatDuration(ageMs)}`;
  const rate = bytesPerSecond === 0 ? "switched off" : `at ${formatRate(bytesPerSecond)} when idle`;
  const found = differing === 0 ? [] : [`${differing} DIFFERED, ${mended} sent again and equal`];
  return [`${coveragePercent} % compared`, ...round, ...skipped, age, rate, ...found].join(", ");
}

/** For `farshore vpg show`. */
export function scrubRows({ scrub }: VpgView): (readonly [string, string])[] {
  return scrub === undefined ? [] : rowsOf(scrub);
}

const rowsOf = ({ journal, disks }: ScrubView): (readonly [string, string])[] => [
  ["Journal scrub", journalText(journal)],
  ...disks.map((each): [string, string] => [
    disks.length > 1 ? `Disk scrub, ${each.gateway}` : "Disk scrub",
    disksText(each),
  ]),
];

function printScrub(output: Output, report: ScrubReport): void {
  const { journal, disks } = report;
  fields(output, rowsOf(report));
  printDamage(output, journal);
  const found = disks.flatMap(({ gateway, list }) => list.map((each) => ({ gateway, ...each })));
  if (found.length === 0) return;
  output.line("");
  columns(
    output,
    ["GATEWAY", "VM/VOLUME", "BYTES", "POSITION", "FOUND", "TIMES", "NOW", "DISK", "JOURNAL"],
    found.map((each) => [
      each.gateway,
      `${each.vmName}/${each.volumeName}`,
      `${each.offset}+${each.length}`,
      `${each.session}-${each.sequence}`,
      timeText(each.foundAt),
      String(each.times),
      each.mended ? "sent again, equal" : "differs",
      each.diskHash,
      each.journalHash,
    ]),
  );
}

function printDamage(output: Output, journal: ScrubReport["journal"]): void {
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
    .description("Check what is stored, a bit at a time: read the journal back, compare source disks with it.");

  scrub
    .command("start")
    .argument("<vpg>", "name or id of the VPG")
    .description(
      "Begin a round now: the journal is read as fast as can be, disks are compared while guests leave them alone.",
    )
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
