import type { StreamState } from "#core/api/gateway-api.ts";
import type { OperationKind, Phase } from "./operation.ts";
import type { Role } from "./term.ts";

export type Status =
  | "Initializing"
  | "MeetingSLA"
  | "NotMeetingSLA"
  | "RpoNotMeetingSLA"
  | "HistoryNotMeetingSLA"
  | "FailingOver"
  | "Moving"
  | "Deleting"
  | "Recovered";

export type Substatus =
  | "None"
  | "Creating"
  | "InitialSync"
  | "DeltaSync"
  | "BitmapSync"
  | "VolumeInitialSync"
  | "NeedsConfiguration"
  | "DisconnectedFromPeer"
  | "FailingOverBeforeCommit"
  | "FailingOverCommitting"
  | "FailingOverRollingBack"
  | "MovingBeforeCommit"
  | "MovingCommitting"
  | "MovingRollingBack"
  | "Promoting"
  | "RollingBack"
  | "ReplicationPausedUserInitiated"
  | "ReplicationPausedSystemInitiated"
  | "RecoveryPossible"
  | "Error";

/** All that a VPG's status depends on. */
export interface StatusFacts {
  readonly role: Role;
  readonly deleted: boolean;
  readonly paused: boolean;
  /** Its journal is at its limit, and ingest refuses (`JournalFull`). */
  readonly journalFull: boolean;
  readonly needsConfiguration: boolean;
  /** The live operation under way. */
  readonly operation: { readonly kind: OperationKind; readonly phase: Phase } | null;
  /** A session was opened once. */
  readonly opened: boolean;
  /** What stands in the newest session's run doesn't follow: nothing of it is listed any more. */
  readonly broken: boolean;
  readonly connected: boolean;
  /** A source gateway works by an older definition: the volumes of the new one have no checkpoint yet. */
  readonly outdated: boolean;
  /** As the source gateway's last heartbeat said. */
  readonly mode: StreamState["mode"];
  /** Now minus the newest checkpoint's validThrough; null without one. */
  readonly rpoMs: number | null;
  readonly targetRpoMs: number;
  readonly historyHeldMs: number;
  /** The least that should be held (`historyOf`). */
  readonly historyDueMs: number;
}

export interface VpgStatus {
  readonly status: Status;
  readonly substatus: Substatus;
}

/** The status is never stored: it is this function of what is. Substatuses stand under the statuses where the field puts them. */
export function statusOf(facts: StatusFacts): VpgStatus {
  if (facts.deleted) return { status: "Deleting", substatus: "None" };
  if (facts.operation !== null) {
    return facts.operation.kind === "move" ? moveStatus(facts.operation.phase) : operationStatus(facts.operation.phase);
  }
  switch (facts.role) {
    case "Journal":
      return facts.rpoMs === null ? beforeFirstCheckpoint(facts) : protectedStatus(facts, facts.rpoMs);
    case "Preparing":
      // Old disks or running ones are compared with what the journal holds; no checkpoint counts before its first.
      if (!facts.opened) return { status: "Initializing", substatus: "Creating" };
      return {
        status: "NotMeetingSLA",
        substatus: facts.journalFull ? "ReplicationPausedSystemInitiated" : "DeltaSync",
      };
    case "Runs":
      return facts.needsConfiguration
        ? { status: "NotMeetingSLA", substatus: "NeedsConfiguration" }
        : { status: "Recovered", substatus: "None" };
    case "Dark":
    case "Retired":
      return { status: "Recovered", substatus: "None" };
  }
}

function operationStatus(phase: Phase): VpgStatus {
  switch (phase) {
    case "BeforeCommit":
      return { status: "FailingOver", substatus: "FailingOverBeforeCommit" };
    case "Committing":
      return { status: "FailingOver", substatus: "FailingOverCommitting" };
    case "Promoting":
      return { status: "FailingOver", substatus: "Promoting" };
    case "RollingBack":
      return { status: "FailingOver", substatus: "FailingOverRollingBack" };
    case "Starting":
    case "ShuttingDownSource":
    case "ClosingVolumes":
    case "ProvingFinal":
    case "AttachingVolumes":
    case "Booting":
    case "Retargeting":
    case "TestRunning":
    case "TestStopping":
      return { status: "FailingOver", substatus: "None" };
    case "RetargetFailed":
      return { status: "FailingOver", substatus: "Error" };
    case "HashingVolumes":
    case "ComparingPages":
    case "ShippingWanted":
    case "VerifyingSync":
      // A delta-sync runs beside the status: it is not the VPG's live operation.
      return { status: "NotMeetingSLA", substatus: "DeltaSync" };
    case "Offering":
    case "Withdrawing":
      // It runs here and nobody has its journal yet.
      return { status: "NotMeetingSLA", substatus: "NeedsConfiguration" };
    case "Protecting":
      return { status: "NotMeetingSLA", substatus: "DeltaSync" };
    case "Completed":
    case "RolledBack":
    case "Failed":
      // The operation has ended and the VPG still names it: its last step is missing, and retry finishes it.
      return { status: "NotMeetingSLA", substatus: "Error" };
  }
}

function moveStatus(phase: Phase): VpgStatus {
  const failover = operationStatus(phase);
  if (failover.status !== "FailingOver") return failover;
  return { status: "Moving", substatus: movingSubstatus[failover.substatus] ?? failover.substatus };
}

const movingSubstatus: Readonly<Partial<Record<Substatus, Substatus>>> = {
  FailingOverBeforeCommit: "MovingBeforeCommit",
  FailingOverCommitting: "MovingCommitting",
  FailingOverRollingBack: "MovingRollingBack",
};

function beforeFirstCheckpoint(facts: StatusFacts): VpgStatus {
  if (facts.broken) return { status: "NotMeetingSLA", substatus: "Error" };
  if (!facts.opened) return { status: "Initializing", substatus: "Creating" };
  if (!facts.connected) return { status: "NotMeetingSLA", substatus: "DisconnectedFromPeer" };
  if (facts.paused) return { status: "Initializing", substatus: "ReplicationPausedUserInitiated" };
  if (facts.journalFull) return { status: "Initializing", substatus: "ReplicationPausedSystemInitiated" };
  return { status: "Initializing", substatus: "InitialSync" };
}

function protectedStatus(facts: StatusFacts, rpoMs: number): VpgStatus {
  const status = slaStatus(rpoMs <= facts.targetRpoMs, facts.historyHeldMs >= facts.historyDueMs);
  if (facts.broken) return { status: "NotMeetingSLA", substatus: "Error" };
  if (facts.paused) return { status, substatus: "ReplicationPausedUserInitiated" };
  if (!facts.connected) return { status: "NotMeetingSLA", substatus: "DisconnectedFromPeer" };
  if (facts.journalFull) return { status, substatus: "ReplicationPausedSystemInitiated" };
  if (facts.outdated) return { status, substatus: "NeedsConfiguration" };
  switch (facts.mode) {
    case "replicating":
    case "paused":
      return { status, substatus: "None" };
    case "bitmap-sync":
    case "dirty":
      return { status, substatus: "BitmapSync" };
    case "delta-sync":
      return { status: "NotMeetingSLA", substatus: "DeltaSync" };
    case "initial-sync":
      return { status: "NotMeetingSLA", substatus: "VolumeInitialSync" };
    case "no-session":
      return { status, substatus: "RecoveryPossible" };
    case "fenced":
    // A move that failed could not open them again: its retry does.
    case "closed":
      return { status: "NotMeetingSLA", substatus: "Error" };
  }
}

function slaStatus(rpoMet: boolean, historyMet: boolean): Status {
  if (rpoMet) return historyMet ? "MeetingSLA" : "HistoryNotMeetingSLA";
  return historyMet ? "RpoNotMeetingSLA" : "NotMeetingSLA";
}
