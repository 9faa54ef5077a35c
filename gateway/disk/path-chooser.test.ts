import { expect, it } from "vitest";
import { poolRunMax, poolRunMin } from "./limits.ts";
import { PathChooser } from "./path-chooser.ts";

function poolRun(chooser: PathChooser): number {
  let run = 0;
  while (!chooser.synchronous()) {
    run++;
  }
  return run;
}

it("stays synchronous on a fast disk, one slow request included", () => {
  const chooser = new PathChooser(0.1);
  for (let request = 0; request < 1000; request++) {
    expect(chooser.synchronous()).toBe(true);
    chooser.took(request === 500 ? 50 : 0.01);
  }
});

it("leaves a slow disk to the pool for longer and longer, and comes back when it is fast again", () => {
  const chooser = new PathChooser(0.1);
  const runs: number[] = [];
  for (let round = 0; round < 8; round++) {
    let run = 0;
    while (run === 0) {
      chooser.took(5);
      run = poolRun(chooser);
    }
    runs.push(run);
  }
  expect(runs[0]).toBe(poolRunMin);
  expect(runs.at(-1)).toBe(poolRunMax);
  for (let request = 0; request < 100; request++) {
    chooser.took(0.001);
  }
  expect(chooser.synchronous()).toBe(true);
  chooser.took(1);
  chooser.took(1);
  expect(poolRun(chooser)).toBe(poolRunMin);
});
