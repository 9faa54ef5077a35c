import type { noticeKinds } from "#core/trigger/incident.ts";

/**
 * Where a person meets an alert. `status`: `farshore status`, `--json` too; `notice`: the site's notices; `alarm`: CloudWatch, where
 * `alerts-stand` rings for those of a VPG.
 */
export type SeenIn = "status" | "notice" | "alarm";

interface AlertFacts {
  /** One sentence. */
  readonly means: string;
  readonly seen: readonly SeenIn[];
  /** The kind by which the site's notices call it. */
  readonly notice?: (typeof noticeKinds)[number];
  /** A heading of docs/runbook.md. */
  readonly runbook: string;
}

const sla = "Alarm: a VPG does not meet its SLA";
const lost = "A source is unreachable";

/**
 * Every condition that a person must know of. The ids are for ever: what people built on them stays right. docs/alerts.md is this list
 * as a page, which a test keeps equal. Of an alarm whose id begins with what it is about (a function, a state machine) the end stands here.
 */
export const alertFacts = {
  "source-suspected": {
    means:
      "The site does not hear a VPG's source gateway, or was told of trouble at the source, for less than the policy's time.",
    seen: ["status"],
    runbook: lost,
  },
  "source-unreachable": {
    means: "The site has not heard a VPG's source gateways for the policy's minimum duration.",
    seen: ["status", "notice"],
    notice: "unreachable",
    runbook: lost,
  },
  "approval-waits": {
    means: "A VPG of policy approve is unreachable, and an approver has to say yes or no.",
    seen: ["status", "notice"],
    notice: "approval-waits",
    runbook: "An approval waits",
  },
  "failover-waits": {
    means: "A triggered failover is ready and waits for something else.",
    seen: ["status", "notice"],
    notice: "failover-waits",
    runbook: "A triggered failover waits",
  },
  "failover-started": {
    means: "A trigger has started a failover; nothing is final before its commit.",
    seen: ["status", "notice"],
    notice: "failover-started",
    runbook: "A trigger started a failover",
  },
  "incident-closed": {
    means: "An incident is over; the notice says how it ended.",
    seen: ["notice"],
    notice: "closed",
    runbook: lost,
  },
  "rpo-missed": {
    means:
      "The newest checkpoint is older than the target RPO, though the source is heard; the text says whether it is throttled.",
    seen: ["status"],
    runbook: sla,
  },
  "history-short": {
    means: "Fewer hours of checkpoints are held than the VPG asks for.",
    seen: ["status"],
    runbook: sla,
  },
  "journal-broken": {
    means:
      "What the source sent does not follow from what came before, or the source was fenced: no new checkpoint is listed.",
    seen: ["status"],
    runbook: sla,
  },
  "journal-limit": {
    means:
      "A VPG's journal is above its limit: with the policy pause nothing is replicated, with another history gets coarser or shorter; the text says which.",
    seen: ["status", "alarm"],
    runbook: "The journal is above its limit",
  },
  "retention-waits": {
    means:
      "Nothing of a VPG's journal is thinned or deleted: the site's clock and the source's do not agree, or the table is behind the bucket; the text says which.",
    seen: ["status", "alarm"],
    runbook: "Retention waits",
  },
  "journal-damaged": {
    means:
      "The scrub found an object of the journal that is not as it was stored, is gone, or can't be read for long; it stands until the object is good again.",
    seen: ["status", "alarm"],
    runbook: "The journal is damaged",
  },
  "disk-differs": {
    means:
      "A source disk was not as the journal had it at the same position; what differed was sent again, and it stands until a later round finds the place equal.",
    seen: ["status", "alarm"],
    runbook: "A source disk differs from the journal",
  },
  "no-barrier": {
    means: "The newest barrier of several source gateways made no checkpoint.",
    seen: ["status", "alarm"],
    runbook: "VMs on several gateways",
  },
  "edit-not-taken-up": {
    means: "A VPG was edited, and a source gateway's configuration file or disk does not agree with it yet.",
    seen: ["status", "alarm"],
    runbook: "An edit is not taken up",
  },
  "source-closed": {
    means:
      "A source gateway keeps a VPG's disks closed for a move that the site does not know, or as those of another VPG.",
    seen: ["status", "alarm"],
    runbook: "A source stays closed",
  },
  "operation-forgotten": {
    means:
      "A failover or a move was open when the site lost its table; its recovered VMs may run, so nothing else of the VPG begins and nothing is deleted.",
    seen: ["status", "alarm"],
    runbook: "An operation was forgotten",
  },
  "operation-failed": {
    means:
      "A failover or a move failed with its volumes attached; its recovered VMs may run, so nothing else of the VPG begins.",
    seen: ["status", "alarm"],
    runbook: "An operation failed with its volumes attached",
  },
  "decision-waits": {
    means:
      "A failover or a move is up and has waited for an hour for a person to commit it or to roll it back; the text says when it is rolled back without one.",
    seen: ["status", "alarm"],
    runbook: "A decision waits",
  },
  "not-protected": {
    means: "A VPG was failed over and runs here, and nobody journals it.",
    seen: ["status"],
    runbook: "A VPG runs here unprotected",
  },
  "vpgs-not-meeting-sla": {
    means: "At least one VPG is behind its target RPO, short of its history, or does not replicate.",
    seen: ["alarm"],
    runbook: sla,
  },
  "alerts-stand": {
    means:
      "An alert of `farshore status` stands that nothing else here tells of; `farshore status` says which: one of those in this list with status and alarm.",
    seen: ["alarm"],
    runbook: "Alarm: an alert stands",
  },
  fails: {
    means: "A function answers with errors of its own, or a scheduled one fails run after run.",
    seen: ["alarm"],
    runbook: "Alarm: a function fails",
  },
  throttled: {
    means: "A function has no free execution for some calls.",
    seen: ["alarm"],
    runbook: "Alarm: a function is throttled",
  },
  "table-throttled": {
    means: "The table refuses calls that come too fast.",
    seen: ["alarm"],
    runbook: "Alarm: the table is throttled",
  },
  silent: {
    means: "A scheduled function is not run any more.",
    seen: ["alarm"],
    runbook: "Alarm: a schedule is silent",
  },
  failed: {
    means: "An execution of a state machine failed.",
    seen: ["alarm"],
    runbook: "Alarm: an operation did not succeed",
  },
  aborted: {
    means: "An execution of a state machine was stopped from outside.",
    seen: ["alarm"],
    runbook: "Alarm: an operation did not succeed",
  },
  "timed-out": {
    means: "An execution of a state machine took longer than it may.",
    seen: ["alarm"],
    runbook: "Alarm: an operation did not succeed",
  },
  "dead-letters": {
    means: "Calls or notices could not be delivered and wait in the dead-letter queue.",
    seen: ["alarm"],
    runbook: "Alarm: dead letters",
  },
} as const satisfies Readonly<Record<string, AlertFacts>>;

export type AlertKind = keyof typeof alertFacts;

/** Whether the alarm `alerts-stand` rings for an alert of `farshore status`. */
export function rings(alertId: string): boolean {
  const [kind = ""] = alertId.split(":");
  const facts: AlertFacts | undefined = isAlertKind(kind) ? alertFacts[kind] : undefined;
  return facts?.seen.includes("alarm") ?? false;
}

const isAlertKind = (kind: string): kind is AlertKind => Object.hasOwn(alertFacts, kind);

/** The anchor of the alert's heading in docs/runbook.md, as a renderer of Markdown makes it. */
export function runbookAnchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, "")
    .replaceAll(" ", "-");
}
