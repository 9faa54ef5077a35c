import { describe, expect, it } from "vitest";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { StatesFailure } from "./failure.ts";
import { Fields } from "./fields.ts";
import { decideRetry, matches, parseRetry } from "./retry.ts";

const own = new StatesFailure("Refusal", "no");
const timeout = new StatesFailure("States.Timeout", "");
const heartbeat = new StatesFailure("States.Timeout", "", true);
const runtime = new StatesFailure("States.Runtime", "");
const tooLarge = new StatesFailure("States.DataLimitExceeded", "");

describe("ErrorEquals", () => {
  it.each<[string, StatesFailure, boolean]>([
    ["Refusal", own, true],
    ["refusal", own, false],
    ["States.ALL", own, true],
    ["States.ALL", timeout, true],
    ["States.ALL", heartbeat, true],
    ["States.ALL", runtime, false],
    ["States.ALL", tooLarge, false],
    ["States.TaskFailed", own, true],
    ["States.TaskFailed", timeout, false],
    ["States.TaskFailed", heartbeat, false],
    ["States.TaskFailed", runtime, false],
    ["States.TaskFailed", tooLarge, false],
    ["States.Timeout", timeout, true],
    ["States.Timeout", heartbeat, true],
    ["States.Timeout", own, false],
    ["States.HeartbeatTimeout", heartbeat, true],
    ["States.HeartbeatTimeout", timeout, false],
    ["States.DataLimitExceeded", tooLarge, true],
    ["States.Runtime", runtime, false],
  ])("%s and $error", (name, failure, expected) => {
    expect(matches([name], failure)).toBe(expected);
    expect(matches(["Other", name], failure)).toBe(expected);
  });
});

const parse = (...items: object[]) => parseRetry(new Fields({ Retry: JSON.parse(JSON.stringify(items)) }, "$"));

function delays(retriers: ReturnType<typeof parse>, count: number): (number | undefined)[] {
  const random = new SeededRandom(1);
  const used = [0];
  return Array.from({ length: count }, () => {
    const decision = decideRetry(retriers, used, own, random);
    used[0] = (used[0] ?? 0) + 1;
    return decision?.delayMs;
  });
}

describe("Retry", () => {
  it("waits 1, 2, 4 seconds by default, then gives up", () => {
    expect(delays(parse({ ErrorEquals: ["Refusal"] }), 4)).toEqual([1000, 2000, 4000, undefined]);
  });

  it("grows by BackoffRate up to MaxDelaySeconds", () => {
    const retriers = parse({
      ErrorEquals: ["Refusal"],
      IntervalSeconds: 3,
      BackoffRate: 1.5,
      MaxDelaySeconds: 6,
      MaxAttempts: 4,
    });
    expect(delays(retriers, 5)).toEqual([3000, 4500, 6000, 6000, undefined]);
  });

  it("bounds a delay that outgrows every number", () => {
    const retriers = parse({ ErrorEquals: ["Refusal"], BackoffRate: 1e300, MaxAttempts: 5 });
    expect(delays(retriers, 3)).toEqual([1000, 99_999_999_000, 99_999_999_000]);
  });

  it("spreads the delay with full jitter", () => {
    const retriers = parse({
      ErrorEquals: ["Refusal"],
      IntervalSeconds: 100,
      BackoffRate: 1,
      MaxAttempts: 50,
      JitterStrategy: "FULL",
    });
    const seen = delays(retriers, 50).map(Number);
    expect(Math.min(...seen)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...seen)).toBeLessThan(100_000);
    expect(new Set(seen).size).toBeGreaterThan(40);
  });

  it("counts for each retrier, and uses only the first that matches", () => {
    const retriers = parse(
      { ErrorEquals: ["A", "Refusal"], MaxAttempts: 1 },
      { ErrorEquals: ["States.ALL"], MaxAttempts: 5 },
    );
    const random = new SeededRandom(1);
    expect(decideRetry(retriers, [0, 3], own, random)).toEqual({ retrier: 0, delayMs: 1000 });
    expect(decideRetry(retriers, [1, 0], own, random)).toBeUndefined();
    expect(decideRetry(retriers, [1, 2], timeout, random)).toEqual({ retrier: 1, delayMs: 4000 });
    expect(decideRetry(retriers, [], runtime, random)).toBeUndefined();
  });

  it("never retries with MaxAttempts 0", () => {
    expect(delays(parse({ ErrorEquals: ["Refusal"], MaxAttempts: 0 }), 1)).toEqual([undefined]);
  });

  it.each<[object]>([
    [{}],
    [{ ErrorEquals: [] }],
    [{ ErrorEquals: "Refusal" }],
    [{ ErrorEquals: [""] }],
    [{ ErrorEquals: [1] }],
    [{ ErrorEquals: ["States.Runtime"] }],
    [{ ErrorEquals: ["States.All"] }],
    [{ ErrorEquals: ["States.ALL", "Refusal"] }],
    [{ ErrorEquals: ["A"], IntervalSeconds: 0 }],
    [{ ErrorEquals: ["A"], IntervalSeconds: 1.5 }],
    [{ ErrorEquals: ["A"], MaxAttempts: -1 }],
    [{ ErrorEquals: ["A"], BackoffRate: 0.5 }],
    [{ ErrorEquals: ["A"], BackoffRate: "2" }],
    [{ ErrorEquals: ["A"], IntervalSeconds: 5, MaxDelaySeconds: 5 }],
    [{ ErrorEquals: ["A"], MaxDelaySeconds: 31_622_400 }],
    [{ ErrorEquals: ["A"], JitterStrategy: "HALF" }],
    [{ ErrorEquals: ["A"], Jitter: true }],
  ])("refuses %j", (item) => {
    expect(() => parse(item)).toThrow(expect.objectContaining({ name: "InvalidDefinition" }));
  });

  it("refuses an empty list and States.ALL before the last", () => {
    expect(() => parse()).toThrow("$.Retry: must not be empty");
    expect(() => parse({ ErrorEquals: ["States.ALL"] }, { ErrorEquals: ["A"] })).toThrow("$.Retry[0].ErrorEquals");
  });
});
