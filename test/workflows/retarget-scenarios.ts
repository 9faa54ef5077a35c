import type { Id } from "#core/ids.ts";
import { idSchema } from "#core/ids.ts";
import type { Phase } from "#core/protection/operation.ts";
import { retarget } from "#core/recovery/retarget.ts";
import { type Deed, operationId } from "../kit/failover-world.ts";
import { operator } from "../kit/site.ts";
import {
  after,
  attach,
  booted,
  commit,
  commits,
  completed,
  end,
  error,
  force,
  graceful,
  hour,
  live,
  read,
  rolledBack,
  rollsBack,
  transient,
  undo,
  up,
  wait,
} from "./live-parts.ts";
import type { Scenario } from "./scenario.ts";

const requestOf = (number: number): Id => idSchema.parse(`01k3s1te00000000000000r00${number}`);

/** Asks for the shop's checkpoint of that number as try `number`; the same ask again is the same try. */
export const retargets = (checkpoint: number, phase: Phase = "BeforeCommit", number = 2): Deed => ({
  // Whoever was killed while asking asks again, however far the try has come since.
  when: (operation) =>
    (operation.phase === phase && operation.retargets.length === number - 2) ||
    operation.retargets.length === number - 1,
  act: (site, { shop }) =>
    retarget(site, operator, operationId, {
      checkpoint: { kind: "id", id: shop.checkpoints[checkpoint] ?? "" },
      requestId: requestOf(number),
    }),
});
const rollsBackFailed: Deed = { ...rollsBack, when: "RetargetFailed" };
const leave = ["RetargetStopVms", "CheckRetargetStopVms", "RetargetDetachVolumes", "CheckRetargetDetachVolumes"];
const arrive = ["SwitchCheckpoint", ...attach.slice(1), ...booted, ...read];
const ways = [...leave, ...arrive];
const failsTo = ["RecordFailure", "Route", ...read, ...wait];
const committed = [...up, ...wait, ...ways, ...wait, ...commit];

function until(state: string): readonly string[] {
  return [...up, ...wait, ...ways.slice(0, ways.indexOf(state) + 1)];
}

const asked: readonly Scenario[] = [
  {
    name: "retargeted to an older checkpoint, then committed",
    ask: live(graceful),
    deeds: [retargets(0), commits],
    trace: committed,
    end: {
      ...completed,
      checkpoint: "1-8",
      lostTail: { certainty: "exact", ms: 12_000, writes: 3 },
      machines: { attached: 1, running: ["db", "web"], promoted: 1, sourceRuns: false, scratchKept: [86_400_000] },
      steps: {
        "attach-volumes.try-1": "done",
        "boot-group-1.try-1": "done",
        "decision.try-1": "done",
        "retarget-stop-vms.try-2": "done",
        "retarget-detach-volumes.try-2": "done",
        "switch-checkpoint.try-2": "done",
        "attach-volumes": "done",
        "boot-group-2": "done",
      },
    },
  },
  {
    name: "retargeted twice, then rolled back: the source is powered on again",
    ask: live(graceful),
    deeds: [retargets(0), retargets(1, "BeforeCommit", 3), rollsBack],
    trace: [...up, ...wait, ...ways, ...wait, ...ways, ...wait, ...undo, ...end("Done")],
    end: { ...rolledBack, checkpoint: "1-10", steps: { "attach-volumes.try-2": "done", "power-on-source": "done" } },
  },
  {
    name: "retargeted to where it is, and the policy commits an hour later",
    ask: live({ ...force, ...after("commit", hour) }),
    deeds: [retargets(2)],
    trace: [...up, ...wait, ...ways, ...wait, ...commit],
    end: { ...completed, checkpoint: "1-12", decision: { decision: "commit", by: "system:policy" } },
  },
];

const mishaps: readonly Scenario[] = [
  {
    name: "retargeted, and the recovered VMs can't be stopped: nothing else is touched",
    ask: live(graceful),
    recovery: { fail: { "stop-vms": { ...error, to: 1 } } },
    deeds: [retargets(0), rollsBackFailed],
    trace: [...until("CheckRetargetStopVms"), ...failsTo, ...undo, ...end("Done")],
    end: { ...rolledBack, checkpoint: "1-12", steps: { "retarget-stop-vms": "CommandFailed", "stop-vms": "done" } },
  },
  {
    name: "retargeted, and the first try at it can't detach: the next one can",
    ask: live(graceful),
    recovery: { fail: { "detach-volumes": { ...error, to: 1 } } },
    deeds: [retargets(0), retargets(1, "RetargetFailed", 3), commits],
    trace: [...until("CheckRetargetDetachVolumes"), ...failsTo, ...ways, ...wait, ...commit],
    end: { ...completed, checkpoint: "1-10", steps: { "retarget-detach-volumes.try-2": "CommandFailed" } },
  },
  {
    name: "retargeted, and the volumes can't be attached there: another checkpoint can",
    ask: live(graceful),
    recovery: { fail: { "attach-volumes": { ...error, from: 2, to: 2 } } },
    deeds: [retargets(0), retargets(1, "RetargetFailed", 3), commits],
    trace: [...until("CheckAttachVolumes"), ...failsTo, ...ways, ...wait, ...commit],
    end: {
      ...completed,
      checkpoint: "1-10",
      steps: { "attach-volumes.try-1": "done", "attach-volumes.try-2": "CommandFailed", "attach-volumes": "done" },
    },
  },
  {
    name: "retargeted, and a VM doesn't boot: a policy of committing waits for a person, and then rolls back",
    ask: live({ ...graceful, ...after("commit", hour) }),
    recovery: { fail: { "boot-vms": { ...error, from: 3 } } },
    deeds: [retargets(0)],
    trace: [
      ...until("CheckBootGroup"),
      ...["RecordFailure", "Route", ...read],
      ...Array.from({ length: 30 }, () => wait).flat(),
      ...[...undo, ...end("Done")],
    ],
    end: { ...rolledBack, checkpoint: "1-8", decision: { decision: "rollback", by: "system:policy" } },
  },
  {
    name: "retargeted, and a VM doesn't boot: a policy of rolling back does",
    ask: live({ ...graceful, ...after("rollback", hour) }),
    recovery: { fail: { "boot-vms": { ...error, from: 3 } } },
    deeds: [retargets(0)],
    trace: [...until("CheckBootGroup"), ...failsTo, ...undo, ...end("Done")],
    end: rolledBack,
  },
  {
    name: "retargeted, and the recovery gateway never stops a VM",
    ask: live(graceful),
    recovery: { silent: ["stop-vms"] },
    deeds: [retargets(0), rollsBackFailed],
    trace: [
      ...[...until("CheckRetargetStopVms"), ...leave.slice(0, 2), ...failsTo],
      ...["StopVms", "CheckStopVms", "StopVms", "CheckStopVms", ...end("Failed")],
    ],
    end: { phase: "Failed", error: "CommandExpired", next: "retry", checkpoint: "1-12", pins: [1, 0, 0] },
  },
];

const slow = { times: 2, everyMs: 250_000 };

const weather: readonly Scenario[] = [
  {
    name: "retargeted with slow gateways",
    ask: live(graceful),
    recovery: { progress: { "stop-vms": slow, "detach-volumes": slow } },
    deeds: [retargets(0), commits],
    trace: [
      ...[...up, ...wait, ...leave.slice(0, 2), ...leave.slice(0, 2), ...leave.slice(2), ...leave.slice(2)],
      ...[...arrive, ...wait, ...commit],
    ],
    end: completed,
  },
  {
    name: "retargeted while every wake is lost",
    ask: live(graceful),
    ...{ loseWakes: 1000, deeds: [retargets(0), commits] },
    trace: committed,
    end: completed,
  },
  {
    name: "retargeted while every task of it fails three times in passing",
    ask: live(graceful),
    deeds: [retargets(0), commits],
    faults: transient(
      ...["issue-command:retarget-stop-vms", "check-command:retarget-stop-vms", "switch-checkpoint"],
      ...["issue-command:retarget-detach-volumes", "check-command:retarget-detach-volumes"],
    ),
    trace: committed,
    end: completed,
  },
];

/** An error that trying again can't mend, at every task: where its Catch leads. */
const fatalities: readonly Scenario[] = (
  [
    ["issue-command:retarget-stop-vms", "RetargetStopVms"],
    ["check-command:retarget-stop-vms", "CheckRetargetStopVms"],
    ["issue-command:retarget-detach-volumes", "RetargetDetachVolumes"],
    ["check-command:retarget-detach-volumes", "CheckRetargetDetachVolumes"],
    ["switch-checkpoint", "SwitchCheckpoint"],
  ] as const
).map(([call, state]) => ({
  name: `${call} fails for good`,
  ask: live(graceful),
  deeds: [retargets(0), rollsBackFailed],
  faults: { [call]: ["Corrupt"] },
  trace: [...until(state), ...failsTo, ...undo, ...end("Done")],
  end: { ...rolledBack, checkpoint: "1-12" },
}));

export const retargetScenarios: readonly Scenario[] = [...asked, ...mishaps, ...weather, ...fatalities];
