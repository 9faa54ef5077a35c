import type { TestOptions } from "#core/protection/operation.ts";
import { decide } from "#core/recovery/decide.ts";
import { type Deed, operationId } from "../kit/failover-world.ts";
import { operator } from "../kit/site.ts";
import type { Scenario } from "./scenario.ts";

const test =
  (checkpoint: TestOptions["checkpoint"] = { kind: "latest" }) =>
  (): { kind: "failover-test"; options: TestOptions } => ({ kind: "failover-test", options: { checkpoint } });

const stops = (success: boolean): Deed => ({
  when: "TestRunning",
  act: (site) => decide(site, operator, operationId, { decision: "stop", success, notes: "the shop opened" }),
});

const begin = ["BeginOperation", "Route"];
const attach = ["ResolveCheckpoint", "AttachVolumes", "CheckAttachVolumes", "NextBootGroup"];
const boot = ["MoreBootGroups", "BootDelay", "BootGroup", "CheckBootGroup", "NextBootGroup"];
const read = ["ReadDecision", "Route"];
const wait = ["AwaitDecision", ...read];
const up = [...begin, ...attach, ...boot, ...boot, "MoreBootGroups", ...read];
const end = (last: "Done" | "Failed"): string[] => ["EndOperation", "Ended", last];
const stop = ["StopVms", "CheckStopVms"];
const detach = ["DetachVolumes", "CheckDetachVolumes"];
const fails = ["RecordFailure", "Route", ...stop, ...detach, ...end("Failed")];
const stopped = [...up, ...wait, ...stop, ...detach, ...end("Done")];

const removed = { machines: { attached: 0, running: [], sourceRuns: true, scratchKept: [] }, vpg: { role: "Journal" } };
const completed = { phase: "Completed", ...removed };
const failed = (name: string): object => ({ phase: "Failed", error: name, next: "again", ...removed });
const stuck = { phase: "Failed", error: "Transient", next: "retry" };
const error = { name: "Transient", message: "the hook said no" };

const upTo = (trace: readonly string[], state: string): readonly string[] => trace.slice(0, trace.indexOf(state) + 1);
const twice = (trace: readonly string[]): string[] => [...trace, ...trace];
const slow = { times: 2, everyMs: 250_000 };
const slowBoot = [...boot.slice(0, -1), ...boot.slice(2)];
const names = ["Transient", "ConditionFailed", "Lambda.ServiceException"];
const transient = (...calls: readonly string[]): Record<string, readonly string[]> =>
  Object.fromEntries(calls.map((call) => [call, names]));

const fatal = (call: string, state: string, tail: readonly string[], special: object): Scenario => ({
  name: `${call} fails for good`,
  ask: test(),
  deeds: stopped.indexOf(state) < stopped.indexOf("StopVms") ? [] : [stops(true)],
  faults: { [call]: ["Corrupt"] },
  trace: [...upTo(stopped, state), ...tail],
  end: special,
});

export const testScenarios: readonly Scenario[] = [
  {
    name: "stopped with success: the checkpoint is tagged",
    ask: test({ kind: "tag", tag: "before" }),
    deeds: [stops(true)],
    trace: stopped,
    end: {
      ...completed,
      checkpoint: "1-8",
      tags: [[], [], ["before", "Tested"]],
      decision: { decision: "stop", by: "operator:ann", success: true },
    },
  },
  {
    name: "stopped without success: no tag",
    ask: test(),
    deeds: [stops(false)],
    trace: stopped,
    end: { ...completed, checkpoint: "1-12", tags: [[], [], ["before"]] },
  },
  {
    name: "nobody stops it for 30 days",
    ask: test(),
    trace: [...up, ...Array.from({ length: 30 }, () => wait).flat(), ...stop, ...detach, ...end("Done")],
    end: {
      ...completed,
      decision: { decision: "stop", by: "system:policy", success: null },
      tags: [[], [], ["before"]],
    },
  },
  {
    name: "attaching fails",
    ask: test(),
    recovery: { fail: { "attach-volumes": error } },
    trace: [...begin, ...attach.slice(0, -1), ...fails],
    end: { ...failed("CommandFailed"), decision: { decision: "stop", by: "system:workflow", success: false } },
  },
  {
    name: "booting fails",
    ask: test(),
    recovery: { fail: { "boot-vms": error } },
    trace: [...begin, ...attach, ...boot.slice(0, -1), ...fails],
    end: failed("CommandFailed"),
  },
  {
    name: "VMs that can't be stopped: nothing is removed under them",
    ask: test(),
    recovery: { fail: { "stop-vms": error } },
    deeds: [stops(true)],
    trace: [...up, ...wait, ...stop, ...end("Failed")],
    end: { phase: "Failed", error: "CommandFailed", next: "retry", machines: { attached: 1, running: ["db", "web"] } },
  },
  {
    name: "slow gateways",
    ask: test(),
    deeds: [stops(true)],
    recovery: { progress: { "attach-volumes": slow, "boot-vms": slow, "stop-vms": slow, "detach-volumes": slow } },
    trace: [
      ...[...begin, "ResolveCheckpoint", ...twice(attach.slice(1, 3)), "NextBootGroup", ...slowBoot, ...slowBoot],
      ...["MoreBootGroups", ...read, ...wait, ...twice(stop), ...twice(detach), ...end("Done")],
    ],
    end: completed,
  },
  {
    name: "every wake is lost",
    ask: test(),
    ...{ loseWakes: 1000, deeds: [stops(true)] },
    trace: stopped,
    end: completed,
  },
  {
    name: "every task fails three times in passing",
    ask: test(),
    deeds: [stops(true)],
    faults: transient(
      ...["begin-operation", "resolve-checkpoint", "issue-command:attach-volumes", "check-command:attach-volumes"],
      ...["next-boot-group", "issue-command:boot-group-1", "check-command:boot-group-1", "read-decision"],
      ...["await-decision", "issue-command:stop-vms", "check-command:stop-vms", "issue-command:detach-volumes"],
      ...["check-command:detach-volumes", "end-operation"],
    ),
    trace: stopped,
    end: completed,
  },
  {
    name: "a failure that is hard to record",
    ask: test(),
    recovery: { fail: { "attach-volumes": error } },
    faults: transient("record-failure"),
    trace: [...begin, ...attach.slice(0, -1), ...fails],
    end: failed("CommandFailed"),
  },
  ...(
    [
      ["begin-operation", "BeginOperation"],
      ["resolve-checkpoint", "ResolveCheckpoint"],
      ["issue-command:attach-volumes", "AttachVolumes"],
      ["check-command:attach-volumes", "CheckAttachVolumes"],
      ["next-boot-group", "NextBootGroup"],
      ["issue-command:boot-group-1", "BootGroup"],
      ["check-command:boot-group-1", "CheckBootGroup"],
      ["read-decision", "ReadDecision"],
      ["await-decision", "AwaitDecision"],
    ] as const
  ).map(([call, state]) => fatal(call, state, fails, failed("Corrupt"))),
  fatal("issue-command:stop-vms", "StopVms", end("Failed"), stuck),
  fatal("check-command:stop-vms", "CheckStopVms", end("Failed"), stuck),
  fatal("issue-command:detach-volumes", "DetachVolumes", end("Failed"), stuck),
  fatal("check-command:detach-volumes", "CheckDetachVolumes", end("Failed"), stuck),
  {
    name: "a failure that can't be recorded",
    ask: test(),
    recovery: { fail: { "attach-volumes": error } },
    faults: { "record-failure": ["Corrupt"] },
    trace: [...begin, ...attach.slice(0, -1), "RecordFailure", ...end("Failed")],
    end: stuck,
  },
  {
    name: "an end that can't be recorded",
    ask: test(),
    deeds: [stops(true)],
    faults: { "end-operation": ["Corrupt"] },
    trace: [...up, ...wait, ...stop, ...detach, "EndOperation", "Failed"],
    end: {},
    abandoned: true,
  },
];
