import { describe, expect, it } from "vitest";
import { AlreadyDecided, NotBeforeCommit } from "#core/errors.ts";
import { hasEnded } from "#core/recovery/operation-store.ts";
import { retryOperation } from "#core/recovery/retry-operation.ts";
import { summaryOf } from "../kit/failover-summary.ts";
import { type Deed, type FailoverWorld, operationId } from "../kit/failover-world.ts";
import { operator } from "../kit/site.ts";
import { liveScenarios } from "./live-scenarios.ts";
import { moveScenarios } from "./move-scenarios.ts";
import { numbersTo, samplerOf, sweepTimeoutMs } from "./sample.ts";
import { play, type Scenario } from "./scenario.ts";
import { syncScenarios } from "./sync-scenarios.ts";
import { testScenarios } from "./test-scenarios.ts";

/** A person's decision that the reconciler may have been quicker than. */
const orTooLate = ({ when, act }: Deed): Deed => ({
  when: (operation, world) =>
    hasEnded(operation) || (typeof when === "string" ? operation.phase === when : when(operation, world)),
  act: async (site, world) => {
    try {
      return await act(site, world);
    } catch (error) {
      if (!(error instanceof AlreadyDecided || error instanceof NotBeforeCommit)) throw error;
      return undefined;
    }
  },
});

const chosen = (scenarios: readonly Scenario[], ...names: readonly string[]): readonly Scenario[] =>
  names.map((name) => {
    const found = scenarios.find((scenario) => scenario.name === name);
    if (found === undefined) throw new TypeError(`no scenario ${name}`);
    return { ...found, deeds: (found.deeds ?? []).map(orTooLate) };
  });

const scenarios = [
  ...chosen(
    liveScenarios,
    "latest, graceful, committed by a person",
    "a tag, graceful, rolled back: the source is powered on again",
    "the second boot group fails",
    "slow gateways, committed",
    "slow gateways, rolled back",
    "retargeted to an older checkpoint, then committed",
    "retargeted, and the volumes can't be attached there: another checkpoint can",
  ),
  ...chosen(
    moveScenarios,
    "moved, compared, committed by a person, and the source removed",
    "moved, rolled back by a person",
    "a FINAL without its checkpoint: nothing is proved",
  ),
  ...chosen(syncScenarios, "asked for, two pages compared"),
  ...chosen(testScenarios, "stopped with success: the checkpoint is tagged", "slow gateways"),
];

/** What holds after the reconciler, wherever the execution was stopped. */
async function expectHonestEnd(world: FailoverWorld): Promise<void> {
  const summary = await summaryOf(world);
  expect(summary.machines.violations).toEqual([]);
  expect(Object.values(summary.effects).filter((count) => count !== 1)).toEqual([]);
  expect(summary.vpg).toMatchObject({ operationId: null, openTests: [] });
  expect(summary.tokens).toEqual([]);
  expect(summary.report.phase).toBe(summary.phase);
  if (summary.decision?.decision === "commit") {
    expect(summary.vpg).toMatchObject({ role: "Runs", term: 2, needsConfiguration: true });
    expect(summary.machines.running).toEqual(["db", "web"]);
    expect([null, "retry"]).toContain(summary.next);
    return;
  }
  expect(summary.vpg).toMatchObject({ role: "Journal", term: 1 });
  expect(summary.machines).toMatchObject({ attached: 0, running: [], sourceRuns: true, closed: false });
  expect(summary.pins.filter((count) => count > 0)).toEqual([]);
  expect([null, "again", "sync"]).toContain(summary.next);
}

/** Events after which a scenario is stopped in one run. */
const sampledMax = 24;

const { sample, repeat } = samplerOf("test/workflows/stop.test.ts", `${scenarios.length} scenarios stopped`);

describe("the execution is stopped from outside after every event, and the reconciler looks every minute", () => {
  it.each(scenarios)("$name", { timeout: sweepTimeoutMs }, async (scenario) => {
    const whole = await play(scenario);
    whole.close();
    for (const stopAtEvent of sample(numbersTo(whole.events), sampledMax)) {
      const world = await play(scenario, { stopAtEvent, reconcileEveryMs: 60_000 });
      try {
        await expectHonestEnd(world);
        const { phase, error } = (await world.operation()) ?? {};
        if (phase !== "Failed" || !/operation retry/.test(error?.message ?? "")) continue;
        // Only a commit is left half done, and a retry completes it.
        world.later({ when: "Failed", act: (site) => retryOperation(site, operator, operationId) });
        await world.run(async () => (await world.operation())?.attempt === 2 && world.finished());
        await expectHonestEnd(world);
        expect(await summaryOf(world)).toMatchObject({ phase: "Completed", error: null, machines: { promoted: 1 } });
      } catch (cause) {
        throw new Error(`stopped after event ${stopAtEvent}; repeat: ${repeat}`, { cause });
      } finally {
        world.close();
      }
    }
  });
});
