import type { Clock } from "#core/ports.ts";

/** Keeps what passes below a rate, in the order of asking; without a rate it never waits. */
export class Throttle {
  readonly #clock: Clock;
  #bytesPerSecond: number | undefined;
  #freeAt = 0;
  /** The turn of whoever asked last. */
  #turn: Promise<void> = Promise.resolve();
  #changed = new AbortController();

  constructor(bytesPerSecond: number | undefined, clock: Clock) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
  }

  /** Whether anybody may have to wait. */
  get limits(): boolean {
    return this.#bytesPerSecond !== undefined;
  }

  /** From now on; who waits by the old rate waits by the new one. */
  set(bytesPerSecond: number | undefined): void {
    if (bytesPerSecond === this.#bytesPerSecond) return;
    this.#bytesPerSecond = bytesPerSecond;
    this.#freeAt = 0;
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** Resolves when `bytes` may pass. Rejects with the signal's reason when it is aborted first. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const before = this.#turn;
    const own = Promise.withResolvers<void>();
    this.#turn = own.promise;
    try {
      await before;
      await this.#wait(signal);
      if (this.#bytesPerSecond === undefined) return;
      this.#freeAt = Math.max(this.#clock.monotonic(), this.#freeAt) + (bytes * 1000) / this.#bytesPerSecond;
    } finally {
      own.resolve();
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const waitMs = Math.ceil(this.#freeAt - this.#clock.monotonic());
      if (this.#bytesPerSecond === undefined || waitMs <= 0) return;
      // A changed rate and the signal end it early, and the loop looks at both.
      await this.#clock.sleep(waitMs, AbortSignal.any([signal, this.#changed.signal])).catch(() => undefined);
    }
  }
}
