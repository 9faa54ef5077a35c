import type { Findings } from "./findings.ts";

/** One measurement, run by its name. It prints and never judges: noise of a shared machine is no reason to fail a build. */
export interface Bench {
  readonly name: string;
  /** What is measured, against whom; one sentence. */
  readonly what: string;
  /** Programs of others that it needs; without one of them it is not measured, and that is said. */
  readonly needs: readonly string[];
  run(context: BenchContext): Promise<Findings>;
}

export interface BenchContext {
  /** Path of a program named in `needs`. */
  program(name: string): string;
  /** Interleaved rounds; at least 3, or 1 in a quick run. */
  readonly rounds: number;
  /** Less data and shorter slices, to see that a bench works; its figures mean little. */
  readonly quick: boolean;
  /** Empty folder on disk, removed afterwards. */
  readonly diskFolder: string;
  /** Empty folder in memory (tmpfs), removed afterwards; undefined where there is none. */
  readonly memoryFolder: string | undefined;
  /** A line of progress. */
  say(text: string): void;
}

/**
 * Runs every subject once a round, in turn, the order reversed each round: what disturbs the machine for a while disturbs
 * all of them, and none always goes first.
 */
export async function interleaved<Subject>(
  rounds: number,
  subjects: readonly Subject[],
  measure: (subject: Subject, round: number) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) await measure(subject, round);
  }
}
