import { type RunOptions, type RunResult, run, type Step } from "./run.ts";

/**
 * Leaves out steps while the same invariant is still broken: first halves, then smaller and smaller pieces. Ends with the smallest
 * failing run found within `runsMax` further runs.
 */
export async function shrink(
  failed: RunResult,
  options: RunOptions,
  steps: readonly Step[],
  runsMax: number,
): Promise<Shrunk> {
  let best = failed;
  let kept = steps.slice(0, failed.steps + 1);
  let runs = 0;
  for (let piece = Math.ceil(kept.length / 2); piece >= 1; piece = Math.floor(piece / 2)) {
    for (let at = 0; at < kept.length && runs < runsMax; ) {
      const without = [...kept.slice(0, at), ...kept.slice(at + piece)];
      const tried = await run({ ...options, steps: without });
      runs += 1;
      if (tried.violation?.invariant === failed.violation?.invariant) {
        best = tried;
        kept = without.slice(0, tried.steps + 1);
      } else {
        at += piece;
      }
    }
  }
  return { result: best, steps: kept, runs };
}

export interface Shrunk {
  readonly result: RunResult;
  readonly steps: readonly Step[];
  readonly runs: number;
}
