import { describe, expect, it } from "vitest";
import { actors } from "../actors/all.ts";
import { failureText } from "../report.ts";
import { run, stepsBy } from "../run.ts";
import { shrink } from "../shrink.ts";
import { type Bug, bugs } from "./bugs.ts";

/** Worlds within which each of them must be found, by what it is to be found by; mostly the first does. */
const seedsMax = 12;
const stepsEach = 100;
/** Each is a world, most of which go on to their end. */
const shrinkRuns = 10;

const stepsFor = (bug: Bug, seed: number) =>
  stepsBy(
    actors.filter(({ name }) => bug.actors.includes(name)),
    seed,
    stepsEach,
  );

async function whilePlanted<T>(bug: Bug, work: () => Promise<T>): Promise<T> {
  const undo = bug.plant?.();
  try {
    return await work();
  } finally {
    undo?.();
  }
}

async function search(bug: Bug) {
  const { seed: first = 1 } = bug;
  const others: string[] = [];
  for (let seed = first; seed < first + seedsMax; seed += 1) {
    const result = await run({ seed, steps: stepsFor(bug, seed), planted: bug });
    const { violation } = result;
    if (violation !== undefined && bug.foundBy.includes(violation.invariant)) return result;
    if (violation !== undefined) others.push(`seed ${seed}: ${violation.message}`);
  }
  throw new Error([`not found within ${seedsMax} worlds: ${bug.name}`, ...others].join("\n"));
}

describe("simulation: bugs put in on purpose are found", () => {
  it.each(bugs.map((bug) => [bug.name, bug] as const))("%s", async (_, bug) => {
    await whilePlanted(bug, () => search(bug));
  });

  it("and the way to one is made shorter, and told with its seed", async () => {
    const bug = bugs.find(({ name }) => name === "reverse protection lets the old source go on taking writes");
    if (bug === undefined) throw new Error("no such bug");
    await whilePlanted(bug, async () => {
      const failed = await search(bug);
      const { seed } = failed;
      const steps = stepsFor(bug, seed);
      const shrunk = await shrink(failed, { seed, planted: bug }, steps, shrinkRuns);
      expect(shrunk.result.violation?.invariant).toBe(failed.violation?.invariant);
      expect(shrunk.steps.length).toBeLessThan(failed.steps);
      const text = failureText(failed, "npm run sim -- --seed 3", shrunk);
      expect(text).toContain(`seed ${seed}: one writer`);
      expect(text).toContain("repeat: npm run sim -- --seed 3");
      expect(text).toContain(`${shrunk.steps.length} steps`);
    });
  });
});
