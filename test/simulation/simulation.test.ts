import { describe, expect, it } from "vitest";
import { faultNames } from "./actors/all.ts";
import { stepsDefault } from "./limits.ts";
import { failureText, repeatCommand } from "./report.ts";
import { run, stepsOf } from "./run.ts";
import { shrink } from "./shrink.ts";
import { Sums } from "./sums.ts";

/** The same worlds each time, and one that nobody has seen. */
const seeds = [1, 2, 3, 4, 7, 8, 9];
const fresh = Date.now() % 1_000_000_000;
/** Shorter runs tried after a failure: a minute or two. */
const shrinkRuns = 20;

describe("simulation: two sites, gateways, workflows and clocks on one seed, every invariant after every step", () => {
  const sums = new Sums();

  it.each([...seeds, fresh])("seed %i", async (seed) => {
    const steps = stepsOf(seed);
    const result = await sums.add(() => run({ seed, steps }));
    if (result.violation === undefined) return;
    const shrunk = await shrink(result, { seed }, steps, shrinkRuns);
    expect.fail(failureText(result, repeatCommand(seed, stepsDefault), shrunk));
  });

  it("met every fault, and says which states met which, and how fast", () => {
    process.stdout.write(`simulation:\n${sums.text(`with fresh seed ${fresh}`)}\n`);
    expect(faultNames.filter((fault) => sums.coverage.countOf(fault) === 0)).toEqual([]);
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
