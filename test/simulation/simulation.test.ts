import { describe, expect, it } from "vitest";
import { faultNames } from "./actors/all.ts";
import { Coverage } from "./coverage.ts";
import { stepsDefault } from "./limits.ts";
import { failureText, repeatCommand } from "./report.ts";
import { run, stepsOf } from "./run.ts";
import { shrink } from "./shrink.ts";

/** The same worlds each time, and one that nobody has seen. */
const seeds = [1, 2, 3, 4, 7, 8, 9];
const fresh = Date.now() % 1_000_000_000;
/** Shorter runs tried after a failure: a minute or two. */
const shrinkRuns = 20;

describe("simulation: two sites, gateways, workflows and clocks on one seed, every invariant after every step", () => {
  const coverage = new Coverage();

  it.each([...seeds, fresh])("seed %i", async (seed) => {
    const steps = stepsOf(seed);
    const result = await run({ seed, steps });
    coverage.add(result.coverage);
    if (result.violation === undefined) return;
    const shrunk = await shrink(result, { seed }, steps, shrinkRuns);
    expect.fail(failureText(result, repeatCommand(seed, stepsDefault), shrunk));
  });

  it("met every fault, and says which states met which", () => {
    process.stdout.write(`simulation, fresh seed ${fresh}:\n${coverage.table(faultNames)}\n`);
    expect(faultNames.filter((fault) => coverage.countOf(fault) === 0)).toEqual([]);
  });
});

it("one seed is one world: the same trace twice, another of another seed", async () => {
  const lived = async (seed: number) => {
    const { digest, events } = await run({ seed, steps: stepsOf(seed, 60) });
    return { digest, events };
  };
  const first = await lived(11);
  expect(first.events).toBeGreaterThan(200);
  expect(await lived(11)).toEqual(first);
  expect((await lived(12)).digest).not.toBe(first.digest);
});
