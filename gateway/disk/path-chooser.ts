/**
 * Chooses for small requests between a synchronous call and the thread pool.
 * On cached data the synchronous call gives 2 to 3 times the IOPS (no thread hop). On a cold disk, or while the kernel throttles
 * writers, it would stop every other request of the process: then the pool is used for a while, and the synchronous way tried again.
 */
import { poolRunMax, poolRunMin, sampleMsMax } from "./limits.ts";

/** One sample's weight in the running average. */
const weight = 1 / 16;

export class PathChooser {
  readonly #slowMs: number;
  #averageMs = 0;
  #poolLeft = 0;
  #poolRun = poolRunMin;

  constructor(slowMs: number) {
    this.#slowMs = slowMs;
  }

  /** True when the next small request should be done synchronously; its duration is then given to `took`. */
  synchronous(): boolean {
    if (this.#poolLeft === 0) {
      return true;
    }
    this.#poolLeft--;
    return false;
  }

  /** Learns from the duration of a synchronous request, in ms. */
  took(ms: number): void {
    this.#averageMs += (Math.min(ms, sampleMsMax) - this.#averageMs) * weight;
    if (this.#averageMs > this.#slowMs) {
      this.#poolLeft = this.#poolRun;
      this.#poolRun = Math.min(this.#poolRun * 2, poolRunMax);
      // Close under the bound: if the disk is still slow, a few samples are enough to know.
      this.#averageMs = this.#slowMs * 0.95;
    } else if (this.#averageMs < this.#slowMs / 2) {
      this.#poolRun = poolRunMin;
    }
  }
}
