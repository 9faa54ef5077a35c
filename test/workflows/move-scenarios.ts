import type { MoveOptions } from "#core/protection/operation.ts";
import {
  begin,
  boot,
  booted,
  commits,
  detach,
  end,
  error,
  hour,
  powerOn,
  read,
  rollsBack,
  shutdown,
  slow,
  stop,
  transient,
  twice,
  upTo,
  wait,
} from "./live-parts.ts";
import type { Scenario } from "./scenario.ts";

const move =
  (over: Partial<MoveOptions> = {}) =>
  (): { kind: "move"; options: MoveOptions } => ({
    kind: "move",
    options: { graceMs: 300_000, commitPolicy: { action: "none" }, source: "keep", verify: false, ...over },
  });
const after = (action: "commit" | "rollback", afterMs: number): Partial<MoveOptions> => ({
  commitPolicy: { action, afterMs },
});
const whole: Partial<MoveOptions> = { source: "remove", verify: true };

const close = ["CloseVolumes", "CheckCloseVolumes"];
const verify = ["VerifyVolumes", "CheckVerifyVolumes"];
const proved = ["ProveFinal", "ResolveCheckpoint", ...verify];
const attach = ["AttachVolumes", "CheckAttachVolumes", "NextBootGroup"];
const closed = [...begin, ...shutdown, ...close];
const up = [...closed, ...proved, ...attach, ...booted, ...read];
const promote = ["PromoteVolumes", "CheckPromoteVolumes"];
const remove = ["RemoveSource", "CheckRemoveSource"];
const commit = ["MintTerm", "SealSessions", ...promote, ...remove, ...end("Done")];
const open = ["OpenVolumes", "CheckOpenVolumes"];
const undo = [...stop, ...detach, ...open, ...powerOn];
const fails = ["RecordFailure", "Route", ...undo, ...end("Failed")];

const undone = { machines: { attached: 0, running: [], sourceRuns: true, closed: false } };
const completed = {
  phase: "Completed",
  vpg: { role: "Runs", needsConfiguration: true },
  lostTail: { certainty: "exact", ms: 0, writes: 0 },
  machines: { attached: 1, running: ["db", "web"], promoted: 1, sourceRuns: false, closed: true },
};
const rolledBack = { phase: "RolledBack", ...undone };
const failed = (name: string): object => ({ phase: "Failed", error: name, next: "again", ...undone });
/** Nothing was undone but what could be: a retry goes on. */
const stuck = { phase: "Failed", next: "retry" };

const options: readonly Scenario[] = [
  {
    name: "moved, compared, committed by a person, and the source removed",
    ask: move(whole),
    deeds: [commits],
    trace: [...up, ...wait, ...commit],
    end: {
      ...completed,
      machines: { ...completed.machines, removed: ["db", "web"] },
      decision: { decision: "commit", by: "operator:ann" },
      steps: { "prove-final": "done", "verify-volumes": "done", "remove-source": "done" },
    },
  },
  {
    name: "moved, rolled back by a person",
    ask: move(),
    deeds: [rollsBack],
    trace: [...up, ...wait, ...undo, ...end("Done")],
    end: {
      ...rolledBack,
      lostTail: null,
      steps: { "verify-volumes": "skipped", "open-volumes": "done", "power-on-source": "done" },
    },
  },
  {
    name: "the policy commits at once, the source is kept",
    ask: move(after("commit", 0)),
    trace: [...up, ...commit],
    end: { ...completed, decision: { by: "system:policy" }, steps: { "remove-source": "skipped" } },
  },
  {
    name: "the policy rolls a move back after an hour",
    ask: move(after("rollback", hour)),
    trace: [...up, ...wait, ...undo, ...end("Done")],
    end: { ...rolledBack, decision: { decision: "rollback", by: "system:policy" } },
  },
  {
    name: "nobody decides on a move for 30 days",
    ask: move(),
    trace: [...up, ...Array.from({ length: 30 }, () => wait).flat(), ...undo, ...end("Done")],
    end: { ...rolledBack, decision: { decision: "rollback", by: "system:policy" } },
  },
];

const gateways: readonly Scenario[] = [
  {
    name: "a source that can't be shut down is not moved",
    ask: move(),
    source: { fail: { "shutdown-source": error } },
    trace: [...begin, ...shutdown, ...fails],
    end: { ...failed("SourceShutdownFailed"), steps: { "open-volumes": "skipped", "detach-volumes": "skipped" } },
  },
  {
    name: "a source that is gone is not moved",
    ask: move(),
    source: { silent: "all" },
    trace: [...begin, ...shutdown, ...fails],
    end: failed("SourceShutdownFailed"),
  },
  {
    name: "volumes that can't be closed",
    ask: move(),
    source: { fail: { "close-volumes": error } },
    trace: [...closed, ...fails],
    end: { ...failed("CommandFailed"), steps: { "stop-vms": "skipped", "open-volumes": "done" } },
  },
  {
    name: "a close that is never answered",
    ask: move(),
    source: { silent: ["close-volumes"] },
    trace: [...closed, ...fails],
    end: failed("CommandExpired"),
  },
  {
    name: "a FINAL without its checkpoint: nothing is proved",
    ask: move(),
    unendedSession: true,
    trace: [...closed, "ProveFinal", ...fails],
    end: { ...failed("NoCheckpoint"), steps: { "prove-final": "NoCheckpoint", "open-volumes": "done" } },
  },
  {
    name: "closed disks that are not as the journal has them",
    ask: move(whole),
    differingBytes: 512,
    trace: [...closed, ...proved, ...fails],
    end: { ...failed("FinalNotProved"), steps: { "verify-volumes": "FinalNotProved" } },
  },
  {
    name: "attaching fails after the close",
    ask: move(),
    recovery: { fail: { "attach-volumes": error } },
    trace: [...upTo(up, "CheckAttachVolumes"), ...fails],
    end: { ...failed("CommandFailed"), steps: { "stop-vms": "skipped", "detach-volumes": "done" } },
  },
  {
    name: "the second boot group fails after the close",
    ask: move(),
    recovery: { fail: { "boot-vms": { ...error, from: 2 } } },
    trace: [...closed, ...proved, ...attach, ...boot, ...boot.slice(0, -1), ...fails],
    end: failed("CommandFailed"),
  },
  {
    name: "promotion of a move fails: nothing is rolled back",
    ask: move(after("commit", 0)),
    recovery: { fail: { "promote-volumes": error } },
    trace: [...upTo([...up, ...commit], "CheckPromoteVolumes"), ...end("Failed")],
    end: {
      phase: "Failed",
      error: "CommandFailed",
      vpg: { role: "Runs" },
      machines: { sourceRuns: false, closed: true },
    },
  },
  {
    name: "a source that can't be removed: the move stands",
    ask: move({ ...whole, ...after("commit", 0) }),
    source: { fail: { "remove-source": error } },
    trace: [...upTo([...up, ...commit], "CheckRemoveSource"), ...end("Failed")],
    end: { ...stuck, error: "CommandFailed", vpg: { role: "Runs" }, machines: { promoted: 1, removed: [] } },
  },
  {
    name: "recovered VMs that can't be stopped: the source stays closed",
    ask: move(after("rollback", 0)),
    recovery: { fail: { "stop-vms": error } },
    trace: [...up, ...stop, ...end("Failed")],
    end: { ...stuck, machines: { attached: 1, running: ["db", "web"], sourceRuns: false, closed: true } },
  },
  {
    name: "a detach that fails: the source is opened and powered on all the same",
    ask: move(after("rollback", 0)),
    recovery: { fail: { "detach-volumes": error } },
    trace: [...up, ...undo, ...end("Failed")],
    end: { ...stuck, machines: { attached: 1, running: [], sourceRuns: true, closed: false } },
  },
  {
    name: "volumes that can't be opened again, and VMs that are not powered on then",
    ask: move(after("rollback", 0)),
    source: { fail: { "open-volumes": error, "power-on-source": error } },
    trace: [...up, ...undo, ...end("Failed")],
    end: { ...stuck, machines: { attached: 0, running: [], sourceRuns: false, closed: true } },
  },
  {
    name: "a moved source that can't be powered on",
    ask: move(after("rollback", 0)),
    source: { fail: { "power-on-source": error } },
    trace: [...up, ...undo, ...end("Failed")],
    end: { ...stuck, machines: { attached: 0, running: [], sourceRuns: false, closed: false } },
  },
];

const slowly = {
  progress: {
    ...{ "shutdown-source": slow, "close-volumes": { times: 8, everyMs: 40_000 } },
    "verify-volumes": { times: 8, everyMs: 500_000 },
    ...{ "attach-volumes": slow, "boot-vms": slow, "promote-volumes": { times: 8, everyMs: 500_000 } },
    ...{
      "remove-source": slow,
      "stop-vms": slow,
      "detach-volumes": slow,
      "open-volumes": slow,
      "power-on-source": slow,
    },
  },
} as const;
const slowBoot = [...boot.slice(0, -1), ...boot.slice(2)];
const slowClosed = [...begin, ...twice(shutdown), ...twice(twice(close))];
const slowUp = [
  ...[
    ...slowClosed,
    "ProveFinal",
    "ResolveCheckpoint",
    ...twice(verify),
    ...twice(attach.slice(0, 2)),
    "NextBootGroup",
  ],
  ...[...slowBoot, ...slowBoot, "MoreBootGroups", ...read],
];
const losesReports = {
  twice: true,
  loseReports: {
    ...{ "shutdown-source": 2, "close-volumes": 2, "verify-volumes": 1, "attach-volumes": 2, "boot-vms": 1 },
    ...{ "promote-volumes": 2, "remove-source": 2, "stop-vms": 2, "open-volumes": 2 },
  },
} as const;

const weather: readonly Scenario[] = [
  {
    name: "slow gateways, moved",
    ask: move(whole),
    ...{ source: slowly, recovery: slowly, deeds: [commits] },
    trace: [...slowUp, ...wait, "MintTerm", "SealSessions", ...twice(promote), ...twice(remove), ...end("Done")],
    end: completed,
  },
  {
    name: "slow gateways, a move rolled back",
    ask: move({ ...whole, ...after("rollback", 0) }),
    ...{ source: slowly, recovery: slowly },
    trace: [...slowUp, ...twice(stop), ...twice(detach), ...twice(open), ...twice(powerOn), ...end("Done")],
    end: rolledBack,
  },
  ...[commits, rollsBack].map((deed) => ({
    name: `every wake of a move is lost, ${deed === commits ? "committed" : "rolled back"}`,
    ask: move(whole),
    ...{ loseWakes: 1000, deeds: [deed] },
    trace: [...up, ...wait, ...(deed === commits ? commit : [...undo, ...end("Done")])],
    end: deed === commits ? completed : rolledBack,
  })),
  ...[commits, rollsBack].map((deed) => ({
    name: `reports of a move are lost and come twice, ${deed === commits ? "committed" : "rolled back"}`,
    ask: move(whole),
    ...{ source: losesReports, recovery: losesReports, deeds: [deed] },
    trace: [...up, ...wait, ...(deed === commits ? commit : [...undo, ...end("Done")])],
    end: deed === commits ? completed : rolledBack,
  })),
  {
    name: "every task of a move fails three times in passing, committed",
    ask: move(whole),
    deeds: [commits],
    faults: transient(
      ...["begin-operation", "issue-command:shutdown-source", "check-command:shutdown-source"],
      ...["issue-command:close-volumes", "check-command:close-volumes", "prove-final", "resolve-checkpoint"],
      ...["issue-command:verify-volumes", "check-command:verify-volumes"],
      ...["issue-command:attach-volumes", "check-command:attach-volumes", "next-boot-group"],
      ...["issue-command:boot-group-1", "check-command:boot-group-1", "read-decision", "await-decision", "mint-term"],
      ...["seal-sessions", "issue-command:promote-volumes", "check-command:promote-volumes"],
      ...["issue-command:remove-source", "check-command:remove-source", "end-operation"],
    ),
    trace: [...up, ...wait, ...commit],
    end: completed,
  },
  {
    name: "every task of a move fails three times in passing, undone after a failure",
    ask: move(),
    recovery: { fail: { "boot-vms": error } },
    faults: transient(
      ...["record-failure", "issue-command:stop-vms", "check-command:stop-vms", "issue-command:detach-volumes"],
      ...["check-command:detach-volumes", "issue-command:open-volumes", "check-command:open-volumes"],
      ...["issue-command:power-on-source", "check-command:power-on-source"],
    ),
    trace: [...closed, ...proved, ...attach, ...boot.slice(0, -1), ...fails],
    end: failed("CommandFailed"),
  },
];

const committedTrace = [...up, ...wait, ...commit];
const rolledBackTrace = [...up, ...wait, ...undo, ...end("Done")];

/** An error that trying again can't mend, at a task: where its Catch leads. */
const fatal = (
  call: string,
  state: string,
  happy: readonly string[],
  tail: readonly string[],
  special: object,
): Scenario => ({
  name: `${call} of a move fails for good`,
  ask: move(whole),
  deeds: happy === rolledBackTrace ? [rollsBack] : happy === committedTrace ? [commits] : [],
  faults: { [call]: ["Corrupt"] },
  trace: [...upTo(happy, state), ...tail],
  end: special,
});
const goesOn = {
  ...stuck,
  error: "Transient",
  vpg: { role: "Runs" },
  machines: { running: ["db", "web"], closed: true },
};
const opened = [...open, ...powerOn, ...end("Failed")];
const unopened = [...powerOn, ...end("Failed")];

const fatalities: readonly Scenario[] = [
  ...(
    [
      ["begin-operation", "BeginOperation"],
      ["issue-command:shutdown-source", "ShutdownSource"],
      ["check-command:shutdown-source", "CheckShutdownSource"],
      ["issue-command:close-volumes", "CloseVolumes"],
      ["check-command:close-volumes", "CheckCloseVolumes"],
      ["prove-final", "ProveFinal"],
      ["resolve-checkpoint", "ResolveCheckpoint"],
      ["issue-command:verify-volumes", "VerifyVolumes"],
      ["check-command:verify-volumes", "CheckVerifyVolumes"],
      ["issue-command:attach-volumes", "AttachVolumes"],
      ["check-command:attach-volumes", "CheckAttachVolumes"],
      ["next-boot-group", "NextBootGroup"],
      ["issue-command:boot-group-1", "BootGroup"],
      ["check-command:boot-group-1", "CheckBootGroup"],
      ["read-decision", "ReadDecision"],
      ["await-decision", "AwaitDecision"],
    ] as const
  ).map(([call, state]) => fatal(call, state, [...up, "AwaitDecision"], fails, failed("Corrupt"))),
  fatal("mint-term", "MintTerm", committedTrace, end("Failed"), goesOn),
  fatal("seal-sessions", "SealSessions", committedTrace, end("Failed"), goesOn),
  fatal("issue-command:promote-volumes", "PromoteVolumes", committedTrace, end("Failed"), goesOn),
  fatal("check-command:promote-volumes", "CheckPromoteVolumes", committedTrace, end("Failed"), goesOn),
  fatal("issue-command:remove-source", "RemoveSource", committedTrace, end("Failed"), goesOn),
  fatal("check-command:remove-source", "CheckRemoveSource", committedTrace, end("Failed"), goesOn),
  fatal("issue-command:stop-vms", "StopVms", rolledBackTrace, end("Failed"), { ...stuck, machines: { closed: true } }),
  fatal("check-command:stop-vms", "CheckStopVms", rolledBackTrace, end("Failed"), {
    ...stuck,
    machines: { closed: true },
  }),
  fatal("issue-command:detach-volumes", "DetachVolumes", rolledBackTrace, opened, {
    ...stuck,
    machines: { closed: false },
  }),
  fatal("check-command:detach-volumes", "CheckDetachVolumes", rolledBackTrace, opened, {
    ...stuck,
    machines: { closed: false },
  }),
  // The power-on opens what is still closed.
  fatal("issue-command:open-volumes", "OpenVolumes", rolledBackTrace, unopened, { ...stuck, ...undone }),
  fatal("check-command:open-volumes", "CheckOpenVolumes", rolledBackTrace, unopened, { ...stuck, ...undone }),
  fatal("issue-command:power-on-source", "PowerOnSource", rolledBackTrace, end("Failed"), stuck),
  fatal("check-command:power-on-source", "CheckPowerOnSource", rolledBackTrace, end("Failed"), stuck),
  {
    name: "a failure of a move that can't be recorded",
    ask: move(),
    recovery: { fail: { "attach-volumes": error } },
    faults: { "record-failure": ["Corrupt"] },
    trace: [...upTo(up, "CheckAttachVolumes"), "RecordFailure", ...end("Failed")],
    end: { ...stuck, decision: { decision: "rollback", by: "system:workflow" } },
  },
  {
    name: "an end of a move that can't be recorded",
    ask: move(after("rollback", 0)),
    faults: { "end-operation": ["Corrupt"] },
    trace: [...up, ...undo, "EndOperation", "Failed"],
    end: {},
    abandoned: true,
  },
];

/** The ways a move may go; what it shares with a live failover has the same names there. */
export const moveScenarios: readonly Scenario[] = [...options, ...gateways, ...weather, ...fatalities];
