import { describe, expect, it } from "vitest";
import { phases } from "./operation.ts";
import { type StatusFacts, statusOf } from "./status.ts";

const well: StatusFacts = {
  role: "Journal",
  deleted: false,
  paused: false,
  journalFull: false,
  needsConfiguration: false,
  operation: null,
  opened: true,
  broken: false,
  connected: true,
  outdated: false,
  mode: "replicating",
  rpoMs: 3000,
  targetRpoMs: 15_000,
  historyHeldMs: 60_000,
  historyDueMs: 60_000,
};
const live = (phase: (typeof phases)[number]): Partial<StatusFacts> => ({
  operation: { kind: "failover-live", phase },
});

describe("statusOf", () => {
  it.each<[string, Partial<StatusFacts>, string]>([
    ["all is well", {}, "MeetingSLA None"],
    ["the newest checkpoint is too old", { rpoMs: 15_001 }, "RpoNotMeetingSLA None"],
    ["history was cut", { historyHeldMs: 1 }, "HistoryNotMeetingSLA None"],
    ["both", { rpoMs: 99_999, historyHeldMs: 1 }, "NotMeetingSLA None"],
    ["no gateway ever came", { opened: false, rpoMs: null, connected: false }, "Initializing Creating"],
    ["the first sync runs", { rpoMs: null, mode: "initial-sync" }, "Initializing InitialSync"],
    ["the first sync lost its gateway", { rpoMs: null, connected: false }, "NotMeetingSLA DisconnectedFromPeer"],
    [
      "paused before the first checkpoint",
      { rpoMs: null, paused: true },
      "Initializing ReplicationPausedUserInitiated",
    ],
    ["a run that broke before the first checkpoint", { rpoMs: null, broken: true }, "NotMeetingSLA Error"],
    [
      "an edit that a gateway hasn't taken up",
      { outdated: true, mode: "initial-sync" },
      "MeetingSLA NeedsConfiguration",
    ],
    ["a hash sync after a crash", { mode: "delta-sync" }, "NotMeetingSLA DeltaSync"],
    ["a sync after an overflow", { mode: "bitmap-sync" }, "MeetingSLA BitmapSync"],
    ["the same for long", { mode: "bitmap-sync", rpoMs: 60_000 }, "RpoNotMeetingSLA BitmapSync"],
    ["an overflow whose sync waits", { mode: "dirty" }, "MeetingSLA BitmapSync"],
    ["a new volume", { mode: "initial-sync" }, "NotMeetingSLA VolumeInitialSync"],
    ["a silent gateway", { connected: false, rpoMs: 99_999 }, "NotMeetingSLA DisconnectedFromPeer"],
    ["a gateway without a session", { mode: "no-session" }, "MeetingSLA RecoveryPossible"],
    ["a fenced stream of a VPG that is protected here", { mode: "fenced" }, "NotMeetingSLA Error"],
    ["paused", { paused: true, mode: "paused" }, "MeetingSLA ReplicationPausedUserInitiated"],
    ["paused for long", { paused: true, rpoMs: 99_999 }, "RpoNotMeetingSLA ReplicationPausedUserInitiated"],
    ["a journal at its limit", { journalFull: true, mode: "paused" }, "MeetingSLA ReplicationPausedSystemInitiated"],
    [
      "such a journal for long",
      { journalFull: true, rpoMs: 99_999 },
      "RpoNotMeetingSLA ReplicationPausedSystemInitiated",
    ],
    [
      "such a journal and a silent gateway",
      { journalFull: true, connected: false },
      "NotMeetingSLA DisconnectedFromPeer",
    ],
    [
      "such a journal before the first checkpoint",
      { journalFull: true, rpoMs: null },
      "Initializing ReplicationPausedSystemInitiated",
    ],
    [
      "such a journal while the disks are brought in",
      { journalFull: true, role: "Preparing" },
      "NotMeetingSLA ReplicationPausedSystemInitiated",
    ],
    ["resumed, and the gateway doesn't know yet", { mode: "paused" }, "MeetingSLA None"],
    ["a run that broke", { broken: true }, "NotMeetingSLA Error"],
    ["a failover begins", live("Starting"), "FailingOver None"],
    ["before commit", live("BeforeCommit"), "FailingOver FailingOverBeforeCommit"],
    ["committing", live("Committing"), "FailingOver FailingOverCommitting"],
    ["promoting, this site's already", { ...live("Promoting"), role: "Runs" }, "FailingOver Promoting"],
    ["rolling back", live("RollingBack"), "FailingOver FailingOverRollingBack"],
    ["an ended operation that the VPG still names", live("Failed"), "NotMeetingSLA Error"],
    ["committed", { role: "Runs", needsConfiguration: true }, "NotMeetingSLA NeedsConfiguration"],
    ["committed and settled", { role: "Runs" }, "Recovered None"],
    ["the old source", { role: "Dark" }, "Recovered None"],
    ["retired", { role: "Retired" }, "Recovered None"],
    ["taking up protection", { role: "Preparing", opened: false }, "Initializing Creating"],
    ["bringing the disks into the journal", { role: "Preparing", opened: true }, "NotMeetingSLA DeltaSync"],
    ["being deleted", { deleted: true, ...live("BeforeCommit") }, "Deleting None"],
  ])("%s", (_case, over, expected) => {
    const { status, substatus } = statusOf({ ...well, ...over });
    expect(`${status} ${substatus}`).toBe(expected);
  });

  it("knows every phase", () => {
    for (const phase of phases)
      expect(statusOf({ ...well, ...live(phase) }).status).toMatch(/FailingOver|NotMeetingSLA/);
  });
});
