import { SystemClock } from "#adapters/embedded/clock.ts";

/** The machine's clock, and ahead of it by what a history is to have taken: hours of checkpoints are written in minutes. */
export class AgedClock extends SystemClock {
  #aheadMs = 0;

  override now(): number {
    return super.now() + this.#aheadMs;
  }

  advance(ms: number): void {
    this.#aheadMs += ms;
  }
}
