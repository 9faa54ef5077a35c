import { describe, expect, it } from "vitest";
import { SystemClock } from "./clock.ts";
import { SystemRandom } from "./random.ts";

describe("SystemClock", () => {
  const clock = new SystemClock();

  it("tells the time, and a reading that never goes back", async () => {
    expect(clock.now()).toBeGreaterThan(Date.UTC(2026, 0));
    const before = clock.monotonic();
    await clock.sleep(1);
    expect(clock.monotonic()).toBeGreaterThan(before);
  });

  it("rejects a sleep with the signal's reason, aborted before or meanwhile", async () => {
    const reason = new Error("stopped");
    await expect(clock.sleep(60_000, AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const sleeping = clock.sleep(60_000, controller.signal);
    controller.abort(reason);
    await expect(sleeping).rejects.toBe(reason);
  });

  it("doesn't wake at once from a sleep longer than a timer holds", async () => {
    const controller = new AbortController();
    const sleeping = clock.sleep(2 ** 40, controller.signal);
    const first = await Promise.race([sleeping.then(() => "woke"), clock.sleep(20).then(() => "asleep")]);
    controller.abort(new Error("enough"));
    await expect(sleeping).rejects.toThrow("enough");
    expect(first).toBe("asleep");
  });
});

describe("SystemRandom", () => {
  it("gives as many bytes as asked for, other ones each time", () => {
    const random = new SystemRandom();
    expect(random.bytes(0)).toHaveLength(0);
    expect(random.bytes(32)).toHaveLength(32);
    expect(random.bytes(32)).not.toEqual(random.bytes(32));
  });
});
