import { describe, expect, it } from "vitest";
import { machines } from "../../cli/site/machines.ts";
import { type AslMutant, aslMutants } from "../kit/asl-mutations.ts";
import { liveScenarios } from "./live-scenarios.ts";
import { moveScenarios } from "./move-scenarios.ts";
import { checkReverse, type ReverseScenario, reverseScenarios } from "./reverse-scenarios.ts";
import { repeatOf, sampled, sweepsAll, sweepTimeoutMs } from "./sample.ts";
import { check, type Scenario } from "./scenario.ts";
import { syncScenarios } from "./sync-scenarios.ts";
import { testScenarios } from "./test-scenarios.ts";

/** The state that a mutant was changed in. */
function stateOf({ label }: AslMutant): string {
  return /^\$\.States\.([^.]+)\./.exec(label)?.[1] ?? "";
}

/** A scenario of any kind of operation. */
interface Played {
  readonly name: string;
  readonly trace: readonly string[];
  /** Calls that fail at first. */
  readonly faults: number;
  /** Plays it, with this document if one is given, and throws when anything is not as it must be. */
  readonly check: (document?: unknown) => Promise<void>;
}

const changed = (document: unknown) => (document === undefined ? {} : { document });

const played = (scenario: Scenario): Played => ({
  name: scenario.name,
  trace: scenario.trace,
  faults: Object.keys(scenario.faults ?? {}).length,
  // Where it goes astray is enough to know: most runs end early.
  check: (document) => check(scenario, { ...changed(document), along: scenario.trace }),
});

const playedReverse = (scenario: ReverseScenario): Played => ({
  name: scenario.name,
  trace: scenario.trace,
  faults: Object.keys(scenario.options.faults ?? {}).length,
  check: (document) => checkReverse(scenario, changed(document)),
});

/**
 * Scenarios that pass through the state, those that probably notice first: for a Catch, where it leads follows the state; for a
 * Retry, the most calls fail.
 */
function suspects(scenarios: readonly Played[], mutant: AslMutant): readonly Played[] {
  const state = stateOf(mutant);
  const through = scenarios.filter(({ trace }) => trace.includes(state));
  const caught = /\.Catch\[\d+\]\.Next: (\w+)/.exec(mutant.label)?.[1];
  const retried = mutant.label.includes(".Retry[");
  const rank = ({ faults, trace }: Played): number => {
    const leads = trace.some((name, index) => name === state && trace[index + 1] === caught);
    const likely = retried ? -1000 * faults : leads ? -1000 : 0;
    return likely + trace.length;
  };
  return [...through].sort((left, right) => rank(left) - rank(right));
}

/** Mutants of one document that are tried in one run. */
const sampledMax = 60;

const repeat = repeatOf("test/workflows/mutation.test.ts");

let plays = 0;

async function killer(scenarios: readonly Played[], mutant: AslMutant): Promise<string | undefined> {
  for (const scenario of suspects(scenarios, mutant)) {
    try {
      plays += 1;
      await scenario.check(mutant.document);
    } catch {
      return scenario.name;
    }
  }
  return undefined;
}

describe.each([
  { kind: "failover-live", scenarios: liveScenarios.map(played) },
  { kind: "failover-test", scenarios: testScenarios.map(played) },
  { kind: "move", scenarios: moveScenarios.map(played) },
  { kind: "delta-sync", scenarios: syncScenarios.map(played) },
  { kind: "reverse-protection", scenarios: reverseScenarios.map(playedReverse) },
] as const)("$kind", ({ kind, scenarios }) => {
  it("has no Next, Default, Catch or Retry that could be changed unnoticed", { timeout: sweepTimeoutMs }, async () => {
    // Without a change every scenario passes; else everything would count as noticed.
    for (const scenario of scenarios) await scenario.check();
    const all = [...aslMutants(machines[kind]?.definition)];
    const mutants = sampled(all, sampledMax);
    const survivors: string[] = [];
    for (const mutant of mutants) {
      if ((await killer(scenarios, mutant)) === undefined) survivors.push(mutant.label);
    }
    const killed = `${mutants.length - survivors.length} of ${mutants.length} mutants killed in ${plays} plays`;
    console.info(`${kind}: ${killed}${sweepsAll ? "" : `, of ${all.length} in all`}: ${repeat}`);
    expect(survivors, `repeat: ${repeat}`).toEqual([]);
  });
});
