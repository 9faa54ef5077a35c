import { describe, expect, it } from "vitest";
import type { HistoryEvent } from "#adapters/embedded/workflows/frame.ts";
import { idSchema } from "#core/ids.ts";
import { executionName } from "#core/recovery/operation-store.ts";
import { summaryOf, traceOf } from "../kit/failover-summary.ts";
import type { FailoverWorld, WorldOptions } from "../kit/failover-world.ts";
import { Machines, RecordingGateway } from "../kit/recording-gateway.ts";
import { liveScenarios } from "./live-scenarios.ts";
import { moveScenarios } from "./move-scenarios.ts";
import { numbersTo, samplerOf, sweepTimeoutMs } from "./sample.ts";
import { invariants, play, type Scenario } from "./scenario.ts";
import { syncScenarios } from "./sync-scenarios.ts";
import { testScenarios } from "./test-scenarios.ts";

/**
 * Wherever the process of a site dies, the operation ends as if it had not: after every event of a history, and after every single
 * call of its bucket or table.
 */

/** Rounds of a long wait are alike: an event of a state is a place to kill for so many of its occurrences. */
const occurrencesMax = 2;

const scenarios = [...liveScenarios, ...testScenarios, ...moveScenarios, ...syncScenarios].filter(
  ({ abandoned }) => abandoned !== true,
);

async function historyOf(world: FailoverWorld): Promise<readonly HistoryEvent[]> {
  const operation = await world.operation();
  return operation === undefined ? [] : world.workflows.history(operation.kind, executionName(operation));
}

/** The numbers of the events to kill after. What comes before one error at one task, or before a retarget, is like the others. */
function placesToKill(scenario: Scenario, history: readonly HistoryEvent[]): readonly number[] {
  const seen = new Map<string, number>();
  const first = history.findIndex(({ type, state }) => {
    if (/fails for good$/.test(scenario.name)) return type === "TaskFailed";
    return !/^retargeted/.test(scenario.name) || state === "AwaitDecision";
  });
  return history.flatMap(({ id, type, state }, index) => {
    const name = `${type} ${state}`;
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return index < first || (seen.get(name) ?? 0) > occurrencesMax ? [] : [id];
  });
}

/**
 * The states entered, a wait told once: a site that was away gives its gateways another minute, so that rounds of waiting for one that
 * says nothing are more than without the kill (core/recovery/hear-again.ts).
 */
function withoutRounds(trace: readonly string[]): readonly string[] {
  const states: string[] = [];
  for (const state of trace) {
    const [wait, check] = states.slice(-2);
    const before = states.at(-4);
    const again = check === `Check${wait}` && wait === before && check === states.at(-3);
    if (again) states.splice(-2);
    states.push(state);
  }
  return states;
}

async function endOf(scenario: Scenario, over: Partial<WorldOptions>) {
  const world = await play(scenario, over);
  try {
    return { kills: world.kills, summary: await summaryOf(world), trace: withoutRounds(await traceOf(world)) };
  } finally {
    world.close();
  }
}

/** Killed at many places: one of each document, and ways that the others share for the most part. */
const thorough = [
  "latest, graceful, committed by a person",
  "stopped with success: the checkpoint is tagged",
  "moved, compared, committed by a person, and the source removed",
  "asked for, two pages compared",
  "retargeted to an older checkpoint, then committed",
  "the second boot group fails",
  "moved, rolled back by a person",
];

/** After so many events, and after so many calls, a scenario is killed in one run. */
function sampleOf({ name }: Scenario): number {
  if (thorough.includes(name)) return 40;
  return /fails for good$/.test(name) ? 1 : 2;
}

const { sample, repeat } = samplerOf("test/workflows/kill.test.ts", `${scenarios.length} scenarios killed`);

it("has each scenario that is killed at many places", () => {
  expect(scenarios.map(({ name }) => name)).toEqual(expect.arrayContaining(thorough));
});

it("has gateways that tell the progress again over which a site died, as real ones do every second", async () => {
  const gateway = new RecordingGateway(idSchema.parse("01k3s1te0000000000000000gw"), new Machines(), {
    progress: { "set-throttle": { times: 1, everyMs: 100 } },
  });
  const body = { kind: "set-throttle" as const, bytesPerSecond: null };
  const command = { commandId: "a.throttle", createdAt: 0, expiresAt: 150, body };
  const told: string[] = [];
  const hear = async (_: string, { state }: { readonly state: string }): Promise<void> => {
    told.push(state);
  };
  await gateway.turn(0, [command], hear);
  await expect(gateway.turn(100, [command], () => Promise.reject(new Error("died")))).rejects.toThrow("died");
  await gateway.turn(100, [command], hear);
  // At its begin, then what the dead site had not taken, and the end.
  expect(told).toEqual(["running", "running", "done"]);
});

describe("the site's process is killed, and started again", () => {
  it.each(scenarios)("$name", { timeout: sweepTimeoutMs }, async (scenario) => {
    const world = await play(scenario);
    const history = await historyOf(world);
    const summary = await summaryOf(world);
    const trace = withoutRounds(await traceOf(world));
    world.close();
    const killed = async (at: { readonly event: number } | { readonly call: number }) => {
      const end = await endOf(scenario, { killAt: at });
      expect({ ...at, kills: end.kills }, `repeat: ${repeat}`).toEqual({ ...at, kills: 1 });
      expect({ ...at, summary: end.summary }, `repeat: ${repeat}`).toEqual({ ...at, summary });
      invariants(end.summary);
      return end;
    };
    for (const event of sample(placesToKill(scenario, history), sampleOf(scenario))) {
      expect({ event, trace: (await killed({ event })).trace }, `repeat: ${repeat}`).toEqual({ event, trace });
    }
    for (const call of sample(numbersTo(world.calls), sampleOf(scenario))) await killed({ call });
  });
});
