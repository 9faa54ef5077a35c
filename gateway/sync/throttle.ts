import type { Clock } from "#core/ports.ts";

/** Keeps a sync's reading below a rate; without one it never waits. */
export class Throttle {
  readonly #bytesPerSecond: number | undefined;
  readonly #clock: Clock;
  #freeAt = 0;

  constructor(bytesPerSecond: number | undefined, clock: Clock) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
  }

  /** Resolves when `bytes` may be read. Rejects with the signal's reason when it is aborted first. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond === undefined) return;
    const now = this.#clock.monotonic();
    const at = Math.max(now, this.#freeAt);
    this.#freeAt = at + (bytes * 1000) / this.#bytesPerSecond;
    if (at > now) await this.#clock.sleep(at - now, signal);
  }
}
