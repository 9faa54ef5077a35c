import { InvalidInput, isRetryable } from "./errors.ts";
import type { Clock, Random } from "./ports.ts";

/** The worst case waits the sum of min(capMs, baseMs * 2^n) for n from 0 to attemptsMax - 2, on average half of it. */
export interface RetryPolicy {
  /** Calls in all, the first one included. */
  readonly attemptsMax: number;
  /** The longest wait before the second attempt; it doubles with each further one. */
  readonly baseMs: number;
  /** The longest wait before any attempt. */
  readonly capMs: number;
  /** Which errors are worth another attempt; by default those that are retryable. */
  readonly retries?: (error: unknown) => boolean;
}

/**
 * Calls `fn` until it succeeds, fails for good (an error that isn't retryable) or has had its attempts; then throws its
 * last error. Waits a random time from 0 to the attempt's bound ("full jitter"), so that clients that failed together
 * don't come back together. An aborted `signal` ends it with the signal's reason.
 */
export async function retry<T>(
  clock: Clock,
  random: Random,
  policy: RetryPolicy,
  fn: (attempt: number) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  if (!(policy.attemptsMax >= 1)) throw new InvalidInput("A retry policy has at least one attempt.");
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    try {
      return await fn(attempt);
    } catch (error) {
      if (attempt >= policy.attemptsMax || !(policy.retries ?? isRetryable)(error)) throw error;
    }
    const boundMs = Math.min(policy.capMs, policy.baseMs * 2 ** (attempt - 1));
    await clock.sleep(fraction(random) * boundMs, signal);
  }
}

/** A number in [0, 1). */
function fraction(random: Random): number {
  return random.bytes(4).reduce((sum, byte) => (sum + byte) / 256, 0);
}
