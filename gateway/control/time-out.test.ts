import { expect, it } from "vitest";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { withTimeout } from "./time-out.ts";

/** Ends with what the signal says. */
const waits = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

it("aborts work that takes too long, or that its caller gave up, and leaves no sleep behind", async () => {
  const clock = new VirtualClock();
  expect(await withTimeout(clock, 1000, async () => 7)).toBe(7);
  await clock.settle();
  expect(clock.sleeping).toBe(0);
  await expect(clock.until(withTimeout(clock, 1000, waits))).rejects.toThrow("not done within 1000 ms");
  expect(clock.monotonic()).toBe(1000);
  const caller = new AbortController();
  const given = withTimeout(clock, 1000, waits, caller.signal);
  caller.abort(new Error("never mind"));
  await expect(given).rejects.toThrow("never mind");
  await clock.settle();
  expect(clock.sleeping).toBe(0);
});
