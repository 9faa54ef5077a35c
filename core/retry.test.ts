import { describe, expect, it } from "vitest";
import { Fenced, Transient } from "./errors.ts";
import type { Clock, Random } from "./ports.ts";
import { retry } from "./retry.ts";

const policy = { attemptsMax: 5, baseMs: 100, capMs: 300 };

/** A clock that never waits and remembers how long it was asked to. */
function recordingClock(): Clock & { readonly waits: number[] } {
  const waits: number[] = [];
  return {
    waits,
    now: () => 0,
    monotonic: () => 0,
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      waits.push(ms);
    },
  };
}

const highest: Random = { bytes: (length) => new Uint8Array(length).fill(255) };
const lowest: Random = { bytes: (length) => new Uint8Array(length) };

function failing(times: number, error: Error = new Transient("busy")): (attempt: number) => Promise<number> {
  return async (attempt) => {
    if (attempt <= times) throw error;
    return attempt;
  };
}

describe("retry", () => {
  it("returns the first success and counts attempts from 1", async () => {
    expect(await retry(recordingClock(), highest, policy, failing(0))).toBe(1);
    expect(await retry(recordingClock(), highest, policy, failing(4))).toBe(5);
  });

  it("throws the last error after its attempts", async () => {
    const clock = recordingClock();
    await expect(retry(clock, highest, policy, failing(5))).rejects.toThrow("busy");
    expect(clock.waits).toHaveLength(4);
  });

  it("doubles the bound up to its cap, and draws from all of it", async () => {
    const high = recordingClock();
    await retry(high, highest, policy, failing(4));
    expect(high.waits.map(Math.round)).toEqual([100, 200, 300, 300]);
    expect(high.waits.every((ms) => ms < 300)).toBe(true);
    const low = recordingClock();
    await retry(low, lowest, policy, failing(4));
    expect(low.waits).toEqual([0, 0, 0, 0]);
  });

  it("doesn't repeat what can't get better", async () => {
    const clock = recordingClock();
    await expect(retry(clock, highest, policy, failing(1, new Fenced("over")))).rejects.toThrow(Fenced);
    expect(clock.waits).toEqual([]);
  });

  it("ends with the signal's reason, before the first attempt and between two", async () => {
    const reason = new Error("stopped");
    const never = () => Promise.reject(new Error("called"));
    await expect(retry(recordingClock(), highest, policy, never, AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const abortAndFail = () => {
      controller.abort(reason);
      return Promise.reject(new Transient("busy"));
    };
    await expect(retry(recordingClock(), highest, policy, abortAndFail, controller.signal)).rejects.toBe(reason);
  });

  it("refuses a policy without attempts", async () => {
    await expect(retry(recordingClock(), highest, { ...policy, attemptsMax: 0 }, failing(0))).rejects.toMatchObject({
      name: "InvalidInput",
    });
  });
});
