import { faultNames } from "./actors/all.ts";
import { Coverage } from "./coverage.ts";
import type { RunResult } from "./run.ts";

/** What several worlds were together. */
export class Sums {
  readonly coverage = new Coverage();
  #worlds = 0;
  #steps = 0;
  #simulatedMs = 0;
  #judged = 0;
  #tookMs = 0;

  /** `work` is one world, whose time is taken. */
  async add(work: () => Promise<RunResult>): Promise<RunResult> {
    const startedAt = performance.now();
    const result = await work();
    this.#tookMs += performance.now() - startedAt;
    this.coverage.add(result.coverage);
    this.#worlds += 1;
    this.#steps += result.steps;
    this.#simulatedMs += result.simulatedMs;
    this.#judged += result.judged;
    return result;
  }

  /** Which faults met which states, and one line of figures. */
  text(what: string): string {
    const { faults } = this.coverage;
    const seconds = this.#tookMs / 1000;
    return [
      this.coverage.table(faultNames),
      "",
      `${this.#worlds} worlds ${what}: ${this.#steps} steps, ${faults} faults (${(faults / seconds).toFixed(1)} a second), ` +
        `${(this.#simulatedMs / 3_600_000).toFixed(2)} simulated hours in ${seconds.toFixed(0)} s, ` +
        `${this.#judged} images of checkpoints judged`,
    ].join("\n");
  }
}
