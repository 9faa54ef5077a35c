import { Transient } from "#core/errors.ts";
import type { Clock } from "#core/ports.ts";

/** Does `work` with a signal that is aborted after `ms`, or when `signal` is. */
export async function withTimeout<T>(
  clock: Pick<Clock, "sleep">,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const late = new AbortController();
  const over = new AbortController();
  clock.sleep(ms, over.signal).then(
    () => late.abort(new Transient(`not done within ${ms} ms`)),
    () => undefined,
  );
  try {
    return await work(signal === undefined ? late.signal : AbortSignal.any([late.signal, signal]));
  } finally {
    over.abort(new Error("the work is done"));
  }
}

export function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
