import type { Clock } from "#core/ports.ts";
import type { Instant } from "./oracle/judge.ts";

interface Period {
  readonly from: number;
  readonly skewMs: number;
}

/** A machine's clock that is wrong by so much, at times by another amount; durations are true. */
export class SkewedClock implements Clock {
  readonly #true: Clock;
  readonly #periods: Period[] = [];

  constructor(clock: Clock) {
    this.#true = clock;
    this.skew(0);
  }

  skew(skewMs: number): void {
    this.#periods.push({ from: this.#true.now(), skewMs });
  }

  now(): number {
    return this.#true.now() + (this.#periods.at(-1)?.skewMs ?? 0);
  }

  monotonic(): number {
    return this.#true.monotonic();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#true.sleep(ms, signal);
  }

  /** When, in true time, this clock may have shown `time`; undefined when it never did. */
  instantOf(time: number): Instant | undefined {
    const candidates = this.#periods.flatMap(({ from, skewMs }, index) => {
      const at = time - skewMs;
      const to = this.#periods[index + 1]?.from ?? this.#true.now();
      return at >= from && at <= to ? [at] : [];
    });
    if (candidates.length === 0) return undefined;
    return { earliest: Math.min(...candidates), latest: Math.max(...candidates) };
  }
}
