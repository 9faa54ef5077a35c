import type { CheckpointSelector, LiveOptions, MoveOptions } from "#core/protection/operation.ts";
import { formatDuration } from "#core/units.ts";
import { type Content, markup } from "./markup.ts";
import type { Report } from "./report.ts";
import { type Cut, clock, type Row } from "./report-tables.ts";

/** What an operation was asked to do, as rows of its report. */
export function askedRows(report: Report, cut: Cut): readonly Row[] {
  const { live, test, move, sync, reverse } = report;
  if (move !== null) return [...moveRows(move), reverseRow(move, report)];
  if (sync !== null) return [["Chunks compared", sync.force ? "all" : "those that were suspect"]];
  if (reverse !== null) {
    return [
      ["The old source's gateway", reverse.gatewayLost ? "said to be lost: its disks are no seed" : "closes its disks"],
      ["Forced", reverse.force ? "yes: without the site that it was offered to" : "no"],
    ];
  }
  const options = live ?? test;
  if (options === null) return [["Options", "not recorded"]];
  const checkpoint: Row = ["Checkpoint", selectorText(options.checkpoint, cut)];
  if (live === null) return [checkpoint];
  return [
    checkpoint,
    ["Shutdown of the source", shutdownText(live.shutdown)],
    ["Commit", commitText(live.commitPolicy)],
    reverseRow(live, report),
  ];
}

/** Who commits may say otherwise than who began. */
function reverseRow({ reverseProtection = false }: LiveOptions | MoveOptions, { decision }: Report): Row {
  const last = decision?.reverseProtection ?? reverseProtection;
  const when = last === reverseProtection ? "" : " at the commit";
  return ["Reverse protection after the commit", last ? `asked for${when}` : `not asked for${when}`];
}

function moveRows({ graceMs, commitPolicy, source, verify }: MoveOptions): readonly Row[] {
  return [
    ["Checkpoint", "the last, behind which nothing was written"],
    ["Shutdown of the source", shutdownText({ policy: "graceful", graceMs })],
    ["Disks compared with the checkpoint", verify ? "yes" : "no"],
    ["Commit", commitText(commitPolicy)],
    ["Source after the commit", source === "keep" ? "kept" : "removed by its VMs' remove hooks"],
  ];
}

function selectorText(selector: CheckpointSelector, cut: Cut): Content {
  switch (selector.kind) {
    case "latest":
      return "the latest there was when its turn came";
    case "id":
      return `by its id, ${cut(selector.id)}`;
    case "time":
      return markup`the last at or before ${clock(selector.time)}`;
    case "tag":
      return `by its tag, ${cut(selector.tag)}`;
  }
}

function shutdownText({ policy, graceMs }: LiveOptions["shutdown"]): string {
  return policy === "none" ? "none" : `${policy}, within ${formatDuration(graceMs)}`;
}

function commitText(policy: LiveOptions["commitPolicy"]): string {
  if (policy.action === "none") return "by a person";
  return policy.afterMs === 0 ? `${policy.action} at once` : `${policy.action} after ${formatDuration(policy.afterMs)}`;
}
