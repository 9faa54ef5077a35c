import type { Clock } from "#core/ports.ts";

/** The longest wait that `setTimeout` keeps; a longer one would fire at once. */
const timerMsMax = 2_147_483_647;

/** This machine's clock. */
export class SystemClock implements Clock {
  now(): number {
    return Date.now();
  }

  /** The same in every thread of the process, unlike `performance.now()`. */
  monotonic(): number {
    return Number(process.hrtime.bigint() / 1000n) / 1000;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    for (let rest = ms; rest > timerMsMax; rest -= timerMsMax) await wait(timerMsMax, signal);
    await wait(ms > timerMsMax ? ms % timerMsMax : ms, signal);
  }
}

function wait(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    const aborted = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, ms);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}
