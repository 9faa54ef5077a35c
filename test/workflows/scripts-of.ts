import { substitute } from "#adapters/embedded/workflows/definition.ts";
import { machines } from "../../cli/site/machines.ts";
import { operationId } from "../kit/failover-world.ts";
import { reverseId } from "../kit/reverse-world.ts";
import { liveScenarios } from "./live-scenarios.ts";
import { moveScenarios } from "./move-scenarios.ts";
import { Recorder } from "./recorder.ts";
import { playReverse, reverseScenarios } from "./reverse-scenarios.ts";
import { play, type Scenario } from "./scenario.ts";
import type { Script } from "./script.ts";
import { syncScenarios } from "./sync-scenarios.ts";
import { testScenarios } from "./test-scenarios.ts";

/** A machine's document as the embedded site runs it: functions by the names of their folders. */
function documentOf(machine: string): unknown {
  const source = machines[machine];
  if (source === undefined) throw new Error(`there is no machine ${machine}`);
  return substitute(source.definition, source.substitutions ?? {});
}

/** Plays the scenarios with the real functions, on real sites in virtual time, and keeps how the functions and tokens answered. */
async function recorded(machine: string, scenarios: readonly Scenario[]): Promise<readonly Script[]> {
  const document = documentOf(machine);
  const scripts: Script[] = [];
  for (const scenario of scenarios) {
    let answers: Script["answers"] = {};
    const world = await play(scenario, {
      watcher: (clock) => {
        const recorder = new Recorder(clock);
        answers = recorder.answers;
        return recorder;
      },
    });
    world.close();
    scripts.push({ name: scenario.name, document, input: { operationId }, answers });
  }
  return scripts;
}

async function recordedReverse(): Promise<readonly Script[]> {
  const document = documentOf("reverse-protection");
  const scripts: Script[] = [];
  for (const scenario of reverseScenarios) {
    let answers: Script["answers"] = {};
    const world = await playReverse(scenario, {
      watcher: (clock) => {
        const recorder = new Recorder(clock);
        answers = recorder.answers;
        return recorder;
      },
    });
    world.close();
    scripts.push({ name: scenario.name, document, input: { operationId: reverseId }, answers });
  }
  return scripts;
}

/** The scripts of each state machine, by its folder in workflows/. A new folder needs a line here: a test says so. */
export const scriptsOf: Readonly<Record<string, () => Promise<readonly Script[]>>> = {
  move: () => recorded("move", moveScenarios),
  "delta-sync": () => recorded("delta-sync", syncScenarios),
  "failover-live": () => recorded("failover-live", liveScenarios),
  "reverse-protection": recordedReverse,
  "failover-test": () => recorded("failover-test", testScenarios),
};
