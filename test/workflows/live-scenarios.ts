import { protectionLimits as limits } from "#core/protection/limits.ts";
import {
  after,
  attach,
  begin,
  boot,
  byId,
  commit,
  commits,
  completed,
  detach,
  end,
  error,
  failed,
  fails,
  force,
  graceful,
  hour,
  live,
  powerOn,
  read,
  rolledBack,
  rollsBack,
  shutdown,
  slow,
  stop,
  transient,
  twice,
  undo,
  undone,
  up,
  upTo,
  wait,
} from "./live-parts.ts";
import { retargetScenarios } from "./retarget-scenarios.ts";
import type { Scenario } from "./scenario.ts";

const options: readonly Scenario[] = [
  {
    name: "latest, graceful, committed by a person",
    ask: live(graceful),
    deeds: [commits],
    trace: [...up, ...wait, ...commit],
    end: {
      ...completed,
      decision: { decision: "commit", by: "operator:ann" },
      lostTail: { certainty: "exact", ms: 2000, writes: 1 },
      machines: { attached: 1, running: ["db", "web"], promoted: 1, sourceRuns: false },
    },
  },
  {
    name: "an id, source left alone, rolled back by a person",
    ask: (shop) => live(byId(shop))(),
    deeds: [rollsBack],
    trace: [...up, ...wait, ...undo, ...end("Done")],
    end: {
      ...rolledBack,
      checkpoint: "1-10",
      lostTail: null,
      steps: { "shutdown-source": "skipped", "power-on-source": "skipped" },
      machines: { ...undone.machines, scratchKept: [limits.scratchKeptMs] },
    },
  },
  {
    name: "a tag, graceful, rolled back: the source is powered on again",
    ask: live({ ...graceful, checkpoint: { kind: "tag", tag: "before" } }),
    deeds: [rollsBack],
    trace: [...up, ...wait, ...undo, ...end("Done")],
    end: { ...rolledBack, checkpoint: "1-8", steps: { "shutdown-source": "done", "power-on-source": "done" } },
  },
  {
    name: "a time, force with a source that is gone, committed at once",
    ask: live({ ...force, ...after("commit", 0), checkpoint: { kind: "time", time: Date.UTC(2030, 0, 1, 12, 0, 7) } }),
    source: { silent: "all" },
    trace: [...up, ...commit],
    end: {
      ...completed,
      checkpoint: "1-10",
      decision: { by: "system:policy" },
      lostTail: { certainty: "at-least", ms: 7000, writes: 2 },
      steps: { "shutdown-source": "skipped" },
    },
  },
  {
    name: "the policy commits after an hour",
    ask: live(after("commit", hour)),
    trace: [...up, ...wait, ...commit],
    end: { ...completed, decision: { decision: "commit", by: "system:policy" } },
  },
  {
    name: "the policy rolls back after an hour",
    ask: live(after("rollback", hour)),
    trace: [...up, ...wait, ...undo, ...end("Done")],
    end: { ...rolledBack, decision: { decision: "rollback", by: "system:policy" } },
  },
  {
    name: "the policy rolls back at once",
    ask: live(after("rollback", 0)),
    trace: [...up, ...undo, ...end("Done")],
    end: rolledBack,
  },
  {
    name: "nobody decides for 30 days",
    ask: live(),
    trace: [...up, ...Array.from({ length: 30 }, () => wait).flat(), ...undo, ...end("Done")],
    end: { ...rolledBack, decision: { decision: "rollback", by: "system:policy" } },
  },
];

const gateways: readonly Scenario[] = [
  {
    name: "graceful shutdown fails",
    ask: live(graceful),
    source: { fail: { "shutdown-source": error } },
    trace: [...begin, ...shutdown, ...fails],
    end: { ...failed("SourceShutdownFailed"), steps: { "stop-vms": "skipped", "detach-volumes": "skipped" } },
  },
  {
    name: "graceful shutdown of a source that is gone",
    ask: live(graceful),
    source: { silent: "all" },
    trace: [...begin, ...shutdown, ...fails],
    end: failed("SourceShutdownFailed"),
  },
  {
    name: "graceful shutdown that is never answered",
    ask: live(graceful),
    source: { silent: ["shutdown-source", "power-on-source"] },
    trace: [...begin, ...shutdown, ...shutdown, ...fails.slice(0, -5), ...powerOn, ...powerOn, ...end("Failed")],
    end: failed("SourceShutdownFailed"),
  },
  {
    name: "forced shutdown that is never answered",
    ask: live({ ...force, ...after("commit", 0) }),
    source: { silent: ["shutdown-source"] },
    trace: [...begin, ...shutdown, ...up.slice(2), ...commit],
    end: { ...completed, lostTail: { certainty: "at-least" } },
  },
  {
    name: "forced shutdown fails at a source that is there",
    ask: live(force),
    source: { fail: { "shutdown-source": error } },
    trace: [...begin, ...shutdown, ...fails],
    end: failed("SourceShutdownFailed"),
  },
  {
    name: "attaching fails",
    ask: live(graceful),
    recovery: { fail: { "attach-volumes": error } },
    trace: [...upTo(up, "CheckAttachVolumes"), ...fails],
    end: { ...failed("CommandFailed"), steps: { "stop-vms": "skipped", "detach-volumes": "done" } },
  },
  {
    name: "the recovery gateway is gone",
    ask: live(),
    recovery: { silent: "all" },
    trace: [
      ...upTo(up, "CheckAttachVolumes"),
      ...attach.slice(1, 3),
      ...["RecordFailure", "Route", ...stop, ...detach, ...detach, ...powerOn, ...end("Failed")],
    ],
    end: {
      ...failed("CommandExpired"),
      next: "retry",
      steps: { "stop-vms": "skipped", "detach-volumes": "CommandExpired" },
    },
  },
  {
    name: "the second boot group fails",
    ask: live(graceful),
    recovery: { fail: { "boot-vms": { ...error, from: 2 } } },
    trace: [...begin, ...shutdown, ...attach, ...boot, ...boot.slice(0, -1), ...fails],
    end: failed("CommandFailed"),
  },
  {
    name: "promotion fails: nothing is rolled back",
    ask: live(after("commit", 0)),
    recovery: { fail: { "promote-volumes": error } },
    trace: [...up, ...commit.slice(0, -1), "Failed"],
    end: {
      phase: "Failed",
      error: "CommandFailed",
      vpg: { role: "Runs", term: 2 },
      machines: { attached: 1, running: ["db", "web"] },
      pins: [1, 0, 0],
    },
  },
  {
    name: "recovered VMs that can't be stopped: nothing else is touched",
    ask: live({ ...graceful, ...after("rollback", 0) }),
    recovery: { fail: { "stop-vms": error } },
    trace: [...up, "StopVms", "CheckStopVms", ...end("Failed")],
    end: {
      phase: "Failed",
      error: "CommandFailed",
      machines: { attached: 1, running: ["db", "web"], sourceRuns: false },
      pins: [1, 0, 0],
    },
  },
  {
    name: "a detach that fails: the source is powered on all the same",
    ask: live({ ...graceful, ...after("rollback", 0) }),
    recovery: { fail: { "detach-volumes": error } },
    trace: [...up, ...undo, ...end("Failed")],
    end: {
      phase: "Failed",
      error: "CommandFailed",
      machines: { attached: 1, running: [], sourceRuns: true },
      pins: [1, 0, 0],
    },
  },
  {
    name: "a source that can't be powered on",
    ask: live({ ...graceful, ...after("rollback", 0) }),
    source: { fail: { "power-on-source": error } },
    trace: [...up, ...undo, ...end("Failed")],
    end: { phase: "Failed", error: "CommandFailed", machines: { attached: 0, running: [], sourceRuns: false } },
  },
];

const slowly = {
  progress: {
    ...{
      "shutdown-source": slow,
      "attach-volumes": slow,
      "boot-vms": slow,
      "promote-volumes": { times: 8, everyMs: 500_000 },
    },
    ...{ "stop-vms": slow, "detach-volumes": slow, "power-on-source": slow },
  },
} as const;
const slowBoot = [...boot.slice(0, -1), ...boot.slice(2)];
const slowUp = [
  ...[...begin, ...twice(shutdown), "ResolveCheckpoint", ...twice(attach.slice(1, 3)), "NextBootGroup"],
  ...[...slowBoot, ...slowBoot, "MoreBootGroups", ...read],
];
const losesReports = {
  twice: true,
  loseReports: { "shutdown-source": 2, "attach-volumes": 2, "boot-vms": 1, "promote-volumes": 2, "stop-vms": 2 },
} as const;

const weather: readonly Scenario[] = [
  {
    name: "slow gateways, committed",
    ask: live(graceful),
    ...{ source: slowly, recovery: slowly, deeds: [commits] },
    trace: [
      ...[...slowUp, ...wait, "MintTerm", "SealSessions"],
      ...[...twice(["PromoteVolumes", "CheckPromoteVolumes"]), ...end("Done")],
    ],
    end: completed,
  },
  {
    name: "slow gateways, rolled back",
    ask: live({ ...graceful, ...after("rollback", 0) }),
    ...{ source: slowly, recovery: slowly },
    trace: [...slowUp, ...twice(stop), ...twice(detach), ...twice(powerOn), ...end("Done")],
    end: rolledBack,
  },
  {
    name: "every wake is lost, committed",
    ask: live(graceful),
    ...{ loseWakes: 1000, deeds: [commits] },
    trace: [...up, ...wait, ...commit],
    end: completed,
  },
  {
    name: "every wake is lost, rolled back",
    ask: live(graceful),
    ...{ loseWakes: 1000, deeds: [rollsBack] },
    trace: [...up, ...wait, ...undo, ...end("Done")],
    end: rolledBack,
  },
  {
    name: "reports are lost and come twice",
    ask: live(graceful),
    ...{ source: losesReports, recovery: losesReports, deeds: [commits] },
    trace: [...up, ...wait, ...commit],
    end: completed,
  },
  {
    name: "every task fails three times in passing, committed",
    ask: live(graceful),
    deeds: [commits],
    faults: transient(
      ...["begin-operation", "issue-command:shutdown-source", "check-command:shutdown-source", "resolve-checkpoint"],
      ...["issue-command:attach-volumes", "check-command:attach-volumes", "next-boot-group"],
      ...["issue-command:boot-group-1", "check-command:boot-group-1", "read-decision", "await-decision", "mint-term"],
      ...["seal-sessions", "issue-command:promote-volumes", "check-command:promote-volumes", "end-operation"],
    ),
    trace: [...up, ...wait, ...commit],
    end: completed,
  },
  {
    name: "every task fails three times in passing, undone after a failure",
    ask: live(graceful),
    recovery: { fail: { "boot-vms": error } },
    faults: transient(
      ...["record-failure", "issue-command:stop-vms", "check-command:stop-vms", "issue-command:detach-volumes"],
      ...["check-command:detach-volumes", "issue-command:power-on-source", "check-command:power-on-source"],
    ),
    trace: [...begin, ...shutdown, ...attach, ...boot.slice(0, -1), ...fails],
    end: failed("CommandFailed"),
  },
];

/** An error that trying again can't mend, at every task: where its Catch leads. */
const fatal = (
  call: string,
  state: string,
  happy: readonly string[],
  tail: readonly string[],
  special: object,
): Scenario => ({
  name: `${call} fails for good`,
  ask: live(graceful),
  deeds: happy === rolledBackTrace ? [rollsBack] : happy === committedTrace ? [commits] : [],
  faults: { [call]: ["Corrupt"] },
  trace: [...upTo(happy, state), ...tail],
  end: special,
});
const committedTrace = [...up, ...wait, ...commit];
const rolledBackTrace = [...up, ...wait, ...undo, ...end("Done")];
const goesOn = { phase: "Failed", error: "Transient", vpg: { role: "Runs" }, machines: { running: ["db", "web"] } };
const stuck = { phase: "Failed", error: "Transient", next: "retry" };

const fatalities: readonly Scenario[] = [
  ...(
    [
      ["begin-operation", "BeginOperation"],
      ["issue-command:shutdown-source", "ShutdownSource"],
      ["check-command:shutdown-source", "CheckShutdownSource"],
      ["resolve-checkpoint", "ResolveCheckpoint"],
      ["issue-command:attach-volumes", "AttachVolumes"],
      ["check-command:attach-volumes", "CheckAttachVolumes"],
      ["next-boot-group", "NextBootGroup"],
      ["issue-command:boot-group-1", "BootGroup"],
      ["check-command:boot-group-1", "CheckBootGroup"],
      ["read-decision", "ReadDecision"],
      ["await-decision", "AwaitDecision"],
    ] as const
  ).map(([call, state]) => fatal(call, state, up.concat("AwaitDecision"), fails, failed("Corrupt"))),
  fatal("mint-term", "MintTerm", committedTrace, end("Failed"), goesOn),
  fatal("seal-sessions", "SealSessions", committedTrace, end("Failed"), goesOn),
  fatal("issue-command:promote-volumes", "PromoteVolumes", committedTrace, end("Failed"), goesOn),
  fatal("check-command:promote-volumes", "CheckPromoteVolumes", committedTrace, end("Failed"), goesOn),
  fatal("issue-command:stop-vms", "StopVms", rolledBackTrace, end("Failed"), stuck),
  fatal("check-command:stop-vms", "CheckStopVms", rolledBackTrace, end("Failed"), stuck),
  fatal("issue-command:detach-volumes", "DetachVolumes", rolledBackTrace, [...powerOn, ...end("Failed")], stuck),
  fatal("check-command:detach-volumes", "CheckDetachVolumes", rolledBackTrace, [...powerOn, ...end("Failed")], stuck),
  fatal("issue-command:power-on-source", "PowerOnSource", rolledBackTrace, end("Failed"), stuck),
  fatal("check-command:power-on-source", "CheckPowerOnSource", rolledBackTrace, end("Failed"), stuck),
  {
    name: "a failure that can't be recorded",
    ask: live(graceful),
    recovery: { fail: { "attach-volumes": error } },
    faults: { "record-failure": ["Corrupt"] },
    trace: [...upTo(up, "CheckAttachVolumes"), "RecordFailure", ...end("Failed")],
    end: { ...stuck, decision: { decision: "rollback", by: "system:workflow" } },
  },
  {
    name: "an end that can't be recorded",
    ask: live(after("rollback", 0)),
    faults: { "end-operation": ["Corrupt"] },
    trace: [...up, ...undo, "EndOperation", "Failed"],
    end: {},
    abandoned: true,
  },
];

export const liveScenarios: readonly Scenario[] = [
  ...options,
  ...gateways,
  ...weather,
  ...fatalities,
  ...retargetScenarios,
];
