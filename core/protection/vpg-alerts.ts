import { type AlertKind, alertFacts } from "#core/alerts.ts";
import type { VpgView } from "#core/api/site-api.ts";
import type { Alert } from "#core/api/trigger-api.ts";
import type { WaitReason } from "#core/retention/clock-guard.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import type { JournalScrub, SourceScrub } from "#core/scrub/view.ts";
import { formatBytes, formatDuration, formatRate } from "#core/units.ts";

/** An alert of a VPG; `alertId` is the same as long as its cause lasts. */
export function alertOn(kind: AlertKind, vpg: string, text: string): Alert {
  return { alertId: `${kind}:${vpg}`, runbook: alertFacts[kind].runbook, vpg, text };
}

/** What wants a person whether or not the source is heard, most of all before something is failed over. */
export function lastingAlerts({ name, operationForgotten, operationFailed, scrub }: VpgView): readonly Alert[] {
  const damaged = scrub?.journal;
  return [
    ...(operationForgotten === undefined ? [] : [alertOn("operation-forgotten", name, operationForgotten)]),
    ...(operationFailed === undefined ? [] : [alertOn("operation-failed", name, operationFailed)]),
    ...(damaged === undefined || damaged.findings === 0 ? [] : [alertOn("journal-damaged", name, damageText(damaged))]),
    ...(scrub?.disks ?? [])
      .filter(({ differing }) => differing > 0)
      .map((disks) => alertOn("disk-differs", name, differenceText(disks))),
  ];
}

/** What of a VPG whose source is heard wants a person besides, by its view. */
export function vpgAlerts(vpg: VpgView): readonly Alert[] {
  const { name, status, substatus, rpoMs } = vpg;
  const alerts: Alert[] = [];
  const add = (kind: AlertKind, text: string): void => {
    alerts.push(alertOn(kind, name, text));
  };
  if (vpg.role === "Runs" && substatus === "NeedsConfiguration")
    add("not-protected", "it runs here and nobody journals it");
  const limit = limitText(vpg);
  if (limit !== undefined) add("journal-limit", limit);
  if (vpg.role !== "Journal" || vpg.operationId !== null) return alerts;
  const waits = vpg.retention?.waits ?? null;
  if (waits !== null && !toldElsewhere.has(waits)) add("retention-waits", waits);
  if (vpg.sourceClosed !== undefined) add("source-closed", vpg.sourceClosed);
  if (substatus === "Error") add("journal-broken", `mode ${vpg.mode}; no new checkpoint is listed`);
  const paused = substatus === "ReplicationPausedUserInitiated";
  if (rpoMs !== null && rpoMs > vpg.targetRpoMs && !paused) add("rpo-missed", rpoText(vpg, rpoMs));
  if (status === "HistoryNotMeetingSLA") {
    add("history-short", `${formatDuration(vpg.historyHeldMs)} of ${formatDuration(vpg.historyMs)} are held`);
  }
  if (vpg.barrierProblem !== undefined) add("no-barrier", vpg.barrierProblem);
  if (vpg.configurationProblem !== undefined) add("edit-not-taken-up", vpg.configurationProblem);
  return alerts;
}

const damageText = ({ findings, first }: JournalScrub): string =>
  `${findings === 1 ? "an object" : `${findings} objects`} of the journal can't be read as stored: ${first}`;

const differenceText = ({ gateway, differing, mended, first }: SourceScrub): string =>
  `${differing === 1 ? "a chunk" : `${differing} chunks`} at gateway ${gateway} differed from the journal, first ${first}; ` +
  (mended === differing ? "sent again, and equal since" : `${differing - mended} not equal since`);

/** Why retention waits without an alert of its own: as is meant, or told by another. */
const toldElsewhere: ReadonlySet<string> = new Set<WaitReason>(["lost-tail-kept", "operation-forgotten"]);

/** Where sessions are taken and the journal grows: what its limit means now. */
function limitText({ role, retention, journalBytes }: VpgView): string | undefined {
  if (retention === undefined || (role !== "Journal" && role !== "Preparing")) return undefined;
  const { journalLimit, journalFull, pressure, waits } = retention;
  if (journalLimit === null || !(journalFull || journalBytes > journalLimit.bytes)) return undefined;
  const { bytes, policy } = journalLimit;
  const room = bytes * retentionLimits.relievedAt;
  const parts = [
    `the journal has ${formatBytes(journalBytes)}, its limit is ${formatBytes(bytes)} and its policy ${policy}`,
    ...(journalFull ? [`nothing is replicated until it is below ${formatBytes(room)}`] : []),
    ...(pressure > 0 ? [`${pressure} steps taken`] : []),
    ...(waits === null ? [] : [`nothing is let go meanwhile: ${waits}`]),
  ];
  return parts.join("; ");
}

function rpoText({ substatus, targetRpoMs, throttleBytesPerSecond, mode, sync }: VpgView, rpoMs: number): string {
  const syncing = sync === null ? [] : [`${mode} runs`];
  const throttled =
    throttleBytesPerSecond === undefined ? [] : [`it is throttled to ${formatRate(throttleBytesPerSecond)}`];
  const age = `the newest checkpoint is ${formatDuration(rpoMs)} old, the target is ${formatDuration(targetRpoMs)}`;
  const full =
    substatus === "ReplicationPausedSystemInitiated" ? ["the journal is at its limit and takes nothing"] : [];
  return [age, ...full, ...syncing, ...throttled].join("; ");
}
