import { describe, expect, it } from "vitest";
import { triggerLimits } from "./limits.ts";
import { triggerPolicySchema } from "./policy.ts";
import { isHeard } from "./sight.ts";
import { afterLook, type Hint, reachabilityOf, unwatched, type Watch, withHint } from "./watch.ts";

const everyMs = 5000;
const policy = triggerPolicySchema.parse({ minimumDurationMs: 10_000, confirmBy: ["oncall"] });

/** Looks at these times, all of which see silence. */
const silent = (times: readonly number[], from: Watch = unwatched): Watch =>
  times.reduce((watch, now) => afterLook(watch, { now, everyMs, term: 1, heard: false }), from);
const heard = (watch: Watch, now: number): Watch => afterLook(watch, { now, everyMs, term: 1, heard: true });

describe("a chain of looks", () => {
  it.each<[string, readonly number[], "suspected" | "unreachable", number]>([
    ["long enough", [0, 5000, 10_000], "unreachable", 3],
    ["too short", [0, 3000, 6000], "suspected", 3],
    ["of too few looks", [0, 12_000], "suspected", 2],
    ["of looks too close together to count", [0, 100, 200, 2000, 12_000], "suspected", 2],
    ["with a gap", [0, 5000, 5000 + 12_501], "suspected", 1],
    ["with a gap just small enough", [0, 5000, 5000 + 12_500], "unreachable", 3],
    ["with a clock that jumped back", [0, 5000, 4999], "suspected", 1],
    ["with a clock that jumped ahead", [0, 5000, 3_600_000, 3_605_000], "suspected", 2],
  ])("%s", (_case, times, reachability, looks) => {
    const watch = silent(times);
    expect(watch.silence?.looks).toBe(looks);
    expect(reachabilityOf(watch, policy)).toBe(reachability);
  });

  it("ends when the source is heard, and another begins anew", () => {
    const watch = heard(silent([0, 5000, 10_000]), 15_000);
    expect(reachabilityOf(watch, policy)).toBe("reachable");
    expect(reachabilityOf(silent([20_000, 25_000], watch), policy)).toBe("suspected");
  });

  it("begins anew in another term", () => {
    const watch = afterLook(silent([0, 5000, 10_000]), { now: 15_000, everyMs, term: 2, heard: false });
    expect(watch.silence?.looks).toBe(1);
  });
});

describe("an event", () => {
  const hint = (over: Partial<Hint> = {}): Hint => ({
    ...{ eventId: "1", kind: "custom", source: "oncall", reason: "smoke", at: 0 },
    ...over,
  });

  it("makes a source suspected, and no more, for a while", () => {
    const watch = heard(withHint(unwatched, hint()), 5000);
    expect(reachabilityOf(watch, policy)).toBe("suspected");
    expect(reachabilityOf(heard(watch, triggerLimits.hintMs + 1), policy)).toBe("reachable");
  });

  it("is noted once", () => {
    const watch = withHint(unwatched, hint());
    expect(withHint(watch, hint({ reason: "again" }))).toBe(watch);
  });

  it("drives out the oldest where there are many", () => {
    const many = Array.from({ length: triggerLimits.hintsMax + 3 }, (_, index) => hint({ eventId: `${index}` }));
    const { hints } = many.reduce(withHint, unwatched);
    expect(hints.map(({ eventId }) => eventId)).toEqual(many.slice(3).map(({ eventId }) => eventId));
  });

  it.each<[string, Partial<Hint>, readonly number[], "suspected" | "unreachable"]>([
    ["of a named source spares the rest of the minimum duration", {}, [0, 3000, 6000], "unreachable"],
    ["of a named source does not spare the looks", {}, [0, 5000], "suspected"],
    ["of another source spares nothing", { source: "other" }, [0, 3000, 6000], "suspected"],
    ["that only bears the name spares nothing", { kind: "alarm" }, [0, 3000, 6000], "suspected"],
  ])("%s", (_case, over, times, reachability) => {
    expect(reachabilityOf(silent(times, withHint(unwatched, hint(over))), policy)).toBe(reachability);
  });
});

describe("several source gateways", () => {
  it.each<[string, readonly (number | null)[], boolean, boolean]>([
    ["all heard", [99_000, 98_000], true, true],
    ["one silent", [99_000, 50_000], true, false],
    ["one never heard", [99_000, null], true, false],
    ["all silent", [50_000, null], false, false],
    ["one whose clock is a little ahead", [101_000], true, true],
    ["one of a future that never came", [9_000_000], false, false],
  ])("%s", (_case, beats, all, any) => {
    const times = { now: 100_000, before: null };
    expect([isHeard(beats, "all", times), isHeard(beats, "any", times)]).toEqual([all, any]);
  });

  it.each([
    ["since the look before", 41_000, true],
    ["before it", 39_000, false],
  ])("one heard %s, a minute ago", (_case, at, heard) => {
    expect(isHeard([at], "all", { now: 100_000, before: 40_000 })).toBe(heard);
  });
});
