import type { RunResult } from "./run.ts";
import type { Shrunk } from "./shrink.ts";

/** How to see a failure again. */
export function repeatCommand(seed: number, steps: number, faults?: readonly string[]): string {
  const only = faults === undefined ? "" : ` --faults ${JSON.stringify(faults.join(","))}`;
  return `npm run sim -- --seed ${seed} --steps ${steps}${only}`;
}

/** What a person needs of a failure: what is broken, how to repeat it, and the shortest way there that was found. */
export function failureText(failed: RunResult, repeat: string, shrunk: Shrunk | undefined): string {
  const lines = shrunk?.result.lines ?? failed.lines;
  const found = shrunk === undefined ? "" : ` (left after ${shrunk.runs} shorter runs: ${shrunk.steps.length} steps)`;
  return [
    `seed ${failed.seed}: ${failed.violation?.message}`,
    `repeat: ${repeat}`,
    `trace${found}:`,
    ...lines.map((line) => `  ${line}`),
  ].join("\n");
}
