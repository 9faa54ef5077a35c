import { expect } from "vitest";
import { idSchema } from "#core/ids.ts";
import { findVpg } from "#core/protection/vpg-store.ts";
import { decide } from "#core/recovery/decide.ts";
import { executionName } from "#core/recovery/operation-store.ts";
import { reconcile } from "#core/recovery/reconcile.ts";
import { readReport } from "#core/recovery/report.ts";
import { retryOperation } from "#core/recovery/retry-operation.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import { type ReverseDeed, type ReverseOptionsOfTest, ReverseWorld, reverseId } from "../kit/reverse-world.ts";
import { operator } from "../kit/site.ts";

/** One way a reverse protection may go, and how it must end. */
export interface ReverseScenario {
  readonly name: string;
  readonly options: ReverseOptionsOfTest;
  /** The states that the execution enters, in order; rounds of waiting once. */
  readonly trace: readonly string[];
  readonly end: object;
  /** The execution ends without having ended the operation: the reconciler does. */
  readonly abandoned?: boolean;
}

const agreed = ["BeginOperation", "Route", "OfferTerm", "OfferRoute", "AwaitClosed", "OfferTerm", "OfferRoute"];
const begun = ["StartTerm", "StartRoute", "AwaitSeeds", "StartTerm", "StartRoute"];
const captured = ["ProtectVolumes", "CheckProtectVolumes", "AwaitJournal", "JournalRoute"];
const done = ["EndOperation", "Ended", "Done"];
const failed = ["EndOperation", "Ended", "Failed"];
const takenBack = ["WithdrawOffer", "EndOperation", "Ended"];
const protectedNow = {
  ...{ phase: "Completed", error: null, next: null },
  ...{ a: { role: "Journal", term: 3 }, b: { role: "Runs", term: 3, needsConfiguration: false } },
};
const alone = { role: "Runs", term: 3, needsConfiguration: true };

/** A person takes the offer back once this is what it waits for. */
const withdrawal = (waitsFor: RegExp): ReverseDeed => ({
  when: ({ phase, steps }) => phase === "Offering" && waitsFor.test(steps["offer-term"]?.result ?? ""),
  act: (site) => decide(site, operator, reverseId, { decision: "rollback" }),
});
const takesBackClosing = withdrawal(/ closes its gateways/);
const takesBackUnheard = withdrawal(/ does not answer/);
const forceIt: ReverseDeed = {
  when: ({ phase, steps }) => phase === "Protecting" && /not answer/.test(steps["start-term"]?.result ?? ""),
  act: (site, { vpg }) =>
    vpg === undefined
      ? Promise.reject(new Error("no VPG"))
      : startOperation(site, operator, vpg, {
          kind: "reverse-protection",
          options: { gatewayLost: false, force: true },
          requestId: idSchema.parse("01k3s1te0000000000000000zw"),
        }),
};
const retryIt: ReverseDeed = {
  when: ({ phase }) => phase === "Failed",
  act: (site) => retryOperation(site, operator, reverseId),
};

const throttling = ["Lambda.TooManyRequestsException", "Transient"];
const throttledTasks = [
  ["BeginOperation", "begin-operation"],
  ["OfferTerm", "ask-peer:offer-term"],
  ["StartTerm", "ask-peer:start-term"],
  ["ProtectVolumes", "issue-command:protect-volumes"],
  ["CheckProtectVolumes", "check-command:protect-volumes"],
  ["AwaitJournal", "ask-peer:await-journal"],
  ["EndOperation", "end-operation"],
] as const;

export const reverseScenarios: readonly ReverseScenario[] = [
  {
    name: "the peer gets the journal",
    options: {},
    trace: [...agreed, ...begun, ...captured, ...done],
    end: protectedNow,
  },
  {
    name: "the old gateway is gone: nothing is closed and nothing seeded",
    options: { options: { gatewayLost: true }, gatewayGone: true },
    trace: [...agreed.slice(0, 4), ...begun.slice(0, 2), ...captured, ...done],
    end: { ...protectedNow, a: { role: "Journal", term: 3 } },
  },
  {
    name: "the old gateway does not answer, and the offer is taken back",
    options: { gatewayGone: true, deeds: [takesBackClosing] },
    trace: [...agreed.slice(0, 6), ...agreed.slice(3, 4), ...takenBack, "Done"],
    end: { phase: "RolledBack", error: null, next: null, a: { role: "Retired", term: 2 }, b: alone },
  },
  {
    name: "the peer never answers, and the offer is taken back",
    options: { peerFault: () => "lost", deeds: [takesBackUnheard] },
    trace: [...agreed.slice(0, 6), ...agreed.slice(3, 4), ...takenBack, "Done"],
    end: { phase: "RolledBack", error: null, next: null, a: null, b: alone },
  },
  {
    name: "the peer is lost after the term began, and --force",
    options: { peerFault: ({ method }) => (method === "PUT" ? undefined : "lost"), deeds: [forceIt] },
    trace: [...agreed, ...begun.slice(0, 5), ...done],
    end: { phase: "RolledBack", error: null, next: null, b: { role: "Runs", term: 4, needsConfiguration: true } },
  },
  {
    name: "the running gateway can't capture, and can after a retry",
    options: { fail: { "protect-volumes": 1 }, deeds: [retryIt] },
    trace: ["BeginOperation", "Route", "StartTerm", "StartRoute", ...captured, ...done],
    end: protectedNow,
  },
  {
    name: "the running gateway can't capture",
    options: { fail: { "protect-volumes": 1 } },
    trace: [...agreed, ...begun, ...captured.slice(0, 2), ...failed],
    end: { phase: "Failed", error: "CommandFailed", next: "retry", b: alone },
  },
  {
    name: "the old gateway brings nothing: the sync sends everything",
    options: { fail: { "seed-volumes": 3 } },
    trace: [...agreed, ...begun, ...captured, ...done],
    end: protectedNow,
  },
  {
    name: "the old gateway can't close at first",
    options: { fail: { "close-volumes": 1 } },
    trace: [...agreed, ...begun, ...captured, ...done],
    end: protectedNow,
  },
  ...throttledTasks.map(throttled),
  {
    name: "recording a failure and taking back are throttled twice",
    options: {
      faults: {
        "ask-peer:offer-term": ["Broken"],
        "record-failure": throttling,
        "ask-peer:withdraw-offer": throttling,
      },
    },
    trace: [...agreed.slice(0, 3), "RecordFailure", "Route", ...takenBack, "Failed"],
    end: { phase: "Failed", error: "Broken", next: "again", a: null },
  },
  {
    name: "the operation can't begin",
    options: { faults: { "begin-operation": ["Broken"] } },
    trace: ["BeginOperation", "RecordFailure", "Route", ...takenBack, "Failed"],
    end: { phase: "Failed", error: "Broken", next: "again", a: null },
  },
  {
    name: "a failure can't be recorded: the operation ends as it stands",
    options: { faults: { "ask-peer:offer-term": ["Broken"], "record-failure": ["Broken"] } },
    trace: [...agreed.slice(0, 3), "RecordFailure", ...failed],
    end: { phase: "Failed", next: "retry", a: null },
  },
  {
    name: "the running gateway can't be asked to capture",
    options: { faults: { "issue-command:protect-volumes": ["Broken"] } },
    trace: [...agreed, ...begun, "ProtectVolumes", ...failed],
    end: { phase: "Failed", next: "retry", b: alone },
  },
  {
    name: "the capture takes more than an hour: the token is given out anew",
    options: { captureMs: 4_000_000 },
    trace: [...agreed, ...begun, ...captured.slice(0, 2), ...captured, ...done],
    end: { ...protectedNow, steps: { "protect-volumes": "done" } },
  },
  {
    name: "the wake of the capture is lost",
    options: { losesWakes: true },
    trace: [...agreed, ...begun, ...captured, ...done],
    end: protectedNow,
  },
  {
    name: "the first checkpoint at the peer comes late",
    options: { checkpointAfterMs: 10_000 },
    trace: [...agreed, ...begun, ...captured, "AwaitCheckpoint", "AwaitJournal", "JournalRoute", ...done],
    end: protectedNow,
  },
  {
    name: "the end can't be recorded: the reconciler ends it",
    options: { faults: { "end-operation": ["Broken"] } },
    trace: [...agreed, ...begun, ...captured, "EndOperation", "Failed"],
    end: protectedNow,
    abandoned: true,
  },
  {
    name: "the offer fails for good, and is taken back",
    options: { faults: { "ask-peer:offer-term": ["Broken"] } },
    trace: [...agreed.slice(0, 3), "RecordFailure", "Route", ...takenBack, "Failed"],
    end: { phase: "Failed", error: "Broken", next: "again", a: null },
  },
  {
    name: "the beginning fails for good",
    options: { faults: { "ask-peer:start-term": ["Broken"] } },
    trace: [...agreed, "StartTerm", ...failed],
    end: { phase: "Failed", next: "retry" },
  },
  {
    name: "waiting for the journal fails for good",
    options: { faults: { "ask-peer:await-journal": ["Broken"] } },
    trace: [...agreed, ...begun, ...captured.slice(0, 3), ...failed],
    end: { phase: "Failed", next: "retry" },
  },
  {
    name: "taking back fails for good",
    options: { faults: { "ask-peer:offer-term": ["Broken"], "ask-peer:withdraw-offer": ["Broken"] } },
    trace: [...agreed.slice(0, 3), "RecordFailure", "Route", ...takenBack, "Failed"],
    end: { phase: "Failed", next: "retry" },
  },
];

/** A task that is throttled at first does its work all the same. */
function throttled([state, call]: (typeof throttledTasks)[number]): ReverseScenario {
  return {
    name: `${state} is throttled twice`,
    options: { faults: { [call]: throttling } },
    trace: [...agreed, ...begun, ...captured, ...done],
    end: protectedNow,
  };
}

export async function playReverse(
  { options }: ReverseScenario,
  over: ReverseOptionsOfTest = {},
): Promise<ReverseWorld> {
  const world = new ReverseWorld({ ...options, ...over });
  await world.prepare();
  const last = options.deeds?.includes(retryIt) === true;
  try {
    await world.run(async () => {
      if (!(await world.ended())) return false;
      const operation = await world.operation();
      return !last || operation?.phase !== "Failed" || operation.attempt > 1;
    });
  } catch (error) {
    world.close();
    throw error;
  }
  return world;
}

export async function endOfReverse(world: ReverseWorld) {
  const operation = await world.operation();
  const vpgId = world.vpg?.vpgId;
  if (operation === undefined || vpgId === undefined) throw new Error("no operation was made");
  const report = await readReport(world.site("b"), vpgId, reverseId);
  const execution = await world.workflows.describe(operation.kind, executionName(operation));
  const standing = async (side: "a" | "b") => {
    const vpg = await findVpg(world.site(side), vpgId);
    return vpg === undefined
      ? null
      : { role: vpg.role, term: vpg.term, operationId: vpg.operationId, needsConfiguration: vpg.needsConfiguration };
  };
  const message = operation.error?.message ?? "";
  return {
    ...{
      phase: operation.phase,
      error: operation.error?.name ?? null,
      execution: execution?.status,
      violations: world.violations,
    },
    next: /operation retry/.test(message) ? "retry" : /starts again/.test(message) ? "again" : null,
    steps: Object.fromEntries(Object.entries(operation.steps).map(([name, { state }]) => [name, state])),
    ...{ a: await standing("a"), b: await standing("b"), report: report.phase, oldDisksOpen: world.oldDisksOpen },
  };
}

/** The states in the order in which the attempt entered them; a round of waiting that comes again is left out. */
export async function traceOfReverse(world: ReverseWorld): Promise<readonly string[]> {
  const operation = await world.operation();
  if (operation === undefined) return [];
  const history = await world.workflows.history(operation.kind, executionName(operation));
  const entered = history.filter(({ type }) => type.endsWith("StateEntered")).map(({ state }) => state ?? "");
  return entered
    .filter((state, at) => !/^Await(Closed|Seeds|Checkpoint)$/.test(state) || entered.indexOf(state) === at)
    .filter((state, at, all) => state !== all[at - 2] || !/Term$|Route$|AwaitJournal/.test(state));
}

/** Plays it and compares everything. */
export async function checkReverse(scenario: ReverseScenario, over: ReverseOptionsOfTest = {}): Promise<void> {
  const world = await playReverse(scenario, over);
  try {
    expect(await traceOfReverse(world)).toEqual(scenario.trace);
    const end = await endOfReverse(world);
    expect(end).toMatchObject(scenario.end);
    expect(end).toMatchObject({ violations: [], report: end.phase, b: { role: "Runs", operationId: null } });
    for (const side of ["a", "b"] as const) {
      // A bucket doesn't say which gateways have closed, and a site notices its first checkpoint a little later than a rebuild.
      await reconcile(world.site("a"));
      const now = (await endOfReverse(world))[side];
      const { term } = now ?? {};
      const role = now?.role === "Preparing" && term === 2 ? "Retired" : now?.role;
      const rebuilt = await world.rebuilt(side);
      expect({ side, role: rebuilt?.role, term: rebuilt?.term }).toEqual({ side, role, term });
    }
    expect(end.execution).toBe(end.phase === "Failed" || scenario.abandoned === true ? "FAILED" : "SUCCEEDED");
  } finally {
    world.close();
  }
}
