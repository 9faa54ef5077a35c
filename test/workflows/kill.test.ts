import { describe, expect, it } from "vitest";
import type { HistoryEvent } from "#adapters/embedded/workflows/frame.ts";
import { executionName } from "#core/recovery/operation-store.ts";
import { type Summary, summaryOf, traceOf } from "../kit/failover-summary.ts";
import type { FailoverWorld, WorldOptions } from "../kit/failover-world.ts";
import { liveScenarios } from "./live-scenarios.ts";
import { moveScenarios } from "./move-scenarios.ts";
import { invariants, play, type Scenario } from "./scenario.ts";
import { syncScenarios } from "./sync-scenarios.ts";
import { testScenarios } from "./test-scenarios.ts";

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

interface End {
  readonly summary: Summary;
  readonly trace: readonly string[];
}

async function endOf(
  scenario: Scenario,
  over: Partial<WorldOptions>,
): Promise<End & { readonly world: FailoverWorld }> {
  const world = await play(scenario, over);
  try {
    return { world, summary: await summaryOf(world), trace: await traceOf(world) };
  } finally {
    world.close();
  }
}

describe("the site's process is killed after every event of every history, and started again", () => {
  it.each(scenarios)("$name", async (scenario) => {
    const world = await play(scenario);
    const history = await historyOf(world);
    const whole: End = { summary: await summaryOf(world), trace: await traceOf(world) };
    world.close();
    for (const event of placesToKill(scenario, history)) {
      const { world: killed, summary, trace } = await endOf(scenario, { killAt: { event } });
      expect(killed.kills, `killed at event ${event}`).toBe(1);
      expect({ event, summary, trace }).toEqual({ event, ...whole });
      invariants(summary);
    }
  });
});

const between = scenarios.filter(({ name }) =>
  [
    "latest, graceful, committed by a person",
    "a tag, graceful, rolled back: the source is powered on again",
    "the second boot group fails",
    "every wake is lost, committed",
    "promotion fails: nothing is rolled back",
    "retargeted to an older checkpoint, then committed",
    "stopped with success: the checkpoint is tagged",
    "moved, compared, committed by a person, and the source removed",
    "moved, rolled back by a person",
    "a FINAL without its checkpoint: nothing is proved",
    "asked for, two pages compared",
  ].includes(name),
);

describe("the site's process is killed after every single call of its bucket or table", () => {
  it.each(between)("$name", async (scenario) => {
    const { world, ...whole } = await endOf(scenario, {});
    for (let call = 1; call <= world.calls; call += 1) {
      const { summary } = await endOf(scenario, { killAt: { call } });
      expect({ call, summary }).toEqual({ call, summary: whole.summary });
      invariants(summary);
    }
  });
});
