import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { holds } from "../../test/kit/property.ts";
import { retentionLimits as limits } from "./limits.ts";
import { appliedRetention, type Candidate, clockTrouble, keptOf, nextPressure, retentionSchema } from "./policy.ts";

const [minute, hour, day] = [60_000, 3_600_000, 86_400_000];
const declared = retentionSchema.parse({});
const now = Date.UTC(2030, 0, 31);

/** Ascending by time, as a source with a steady clock makes them; some idle until the next. */
const candidates = fc
  .array(
    fc.record({
      gapMs: fc.oneof(fc.constant(5000), fc.integer({ min: 1, max: 3 * hour })),
      idle: fc.boolean(),
      tagged: fc.boolean(),
      pinned: fc.boolean(),
    }),
    { minLength: 1, maxLength: 80 },
  )
  .map((steps) => {
    let time = now;
    const made: Candidate[] = [];
    for (const { gapMs, idle, tagged, pinned } of steps) {
      const validThrough = idle ? time - 1 : time - gapMs;
      time -= gapMs;
      made.unshift({
        time,
        validThrough: Math.max(time, validThrough),
        tagged: tagged && gapMs > hour,
        pinned: pinned && idle,
      });
    }
    return made;
  });
const historyMs = fc.constantFrom(minute, hour, day, 30 * day);

describe("which checkpoints stay", () => {
  it("always the newest, what is pinned, and what is tagged for its time", () =>
    holds(
      fc.property(candidates, historyMs, (some, history) => {
        const kept = keptOf(some, appliedRetention(declared, history, 0), now);
        expect(kept.at(-1)).toBe(true);
        for (const [index, { pinned, tagged, validThrough }] of some.entries()) {
          if (pinned || (tagged && now - validThrough <= declared.taggedMs)) expect(kept[index]).toBe(true);
        }
      }),
    ));

  it("for every whole interval of a tier the one that shows what was there at its end, and no other of it", () =>
    holds(
      fc.property(candidates, (some) => {
        const plain = some.map((each) => ({ ...each, tagged: false, pinned: false }));
        const kept = keptOf(plain, appliedRetention(declared, 30 * day, 0), now);
        for (const [index, { time, validThrough }] of plain.entries()) {
          const age = now - validThrough;
          const tier = declared.tiers.find(({ forMs }) => age <= forMs);
          if (tier === undefined || index === plain.length - 1) continue;
          const interval = Math.floor(time / Math.max(1, tier.everyMs));
          const isLast = !plain
            .slice(index + 1)
            .some((later) => Math.floor(later.time / Math.max(1, tier.everyMs)) === interval);
          expect(kept[index]).toBe(tier.everyMs === 0 || isLast);
        }
      }),
    ));

  it("and the rule applied to what it left lets go no more", () =>
    holds(
      fc.property(candidates, historyMs, (some, history) => {
        const retention = appliedRetention(declared, history, 0);
        const kept = keptOf(some, retention, now);
        const left = some.filter((_, index) => kept[index]);
        expect(keptOf(left, retention, now).every(Boolean)).toBe(true);
      }),
    ));

  it("under a limit fewer with each step, by intervals or by history, and as declared without one", () => {
    const thin = { ...declared, journalLimit: { bytes: 2 ** 30, policy: "thin" as const } };
    const shorten = { ...declared, journalLimit: { bytes: 2 ** 30, policy: "shorten" as const } };
    expect(appliedRetention(declared, 30 * day, 5)).toEqual(appliedRetention(declared, 30 * day, 0));
    expect(appliedRetention(thin, 30 * day, 1).tiers).toEqual([
      { everyMs: 0, forMs: hour / 2 },
      { everyMs: 2 * minute, forMs: day },
      { everyMs: 2 * hour, forMs: 30 * day },
    ]);
    expect(appliedRetention(shorten, 10 * day, 1).tiers.at(-1)).toEqual({ everyMs: hour, forMs: 8 * day });
  });
});

describe("a policy", () => {
  it.each([
    [
      "a tier that is not longer",
      [
        { everyMs: 0, forMs: hour },
        { everyMs: minute, forMs: hour },
      ],
    ],
    [
      "a tier that is not coarser",
      [
        { everyMs: minute, forMs: hour },
        { everyMs: minute, forMs: day },
      ],
    ],
    ["no tier", []],
  ])("is refused with %s", (_, tiers) => {
    expect(retentionSchema.safeParse({ tiers }).success).toBe(false);
  });
});

describe("the clock", () => {
  it.each([
    ["agrees with a source's", now, now - hour, [now - minute], undefined],
    ["was corrected a little", now, now + limits.clockStepMs, [now], undefined],
    ["moved back", now, now + 2 * minute, [now], "site-clock-behind"],
    ["jumped a day ahead", now + day, now, [now], "no-second-clock"],
    ["jumped with the source's behind", now, now - minute, [now - 2 * hour], "no-second-clock"],
    ["has a source's that jumped ahead", now, undefined, [now + day], "no-second-clock"],
    ["is alone", now, now - minute, [], "no-second-clock"],
    ["has one of several sources' with it", now, now - minute, [0, now + 5000], undefined],
  ] as const)("%s", (_, at, ranAt, sources, expected) => {
    expect(clockTrouble(at, ranAt, sources)).toBe(expected);
  });
});

describe("a journal limit", () => {
  const limited = { ...declared, journalLimit: { bytes: 1000, policy: "thin" as const } };
  it("presses a step further above it, and back when well below", () => {
    expect(nextPressure(limited, 1001, 0)).toBe(1);
    expect(nextPressure(limited, 900, 3)).toBe(3);
    expect(nextPressure(limited, 700, 3)).toBe(2);
    expect(nextPressure(limited, 5000, limits.pressureMax)).toBe(limits.pressureMax);
    expect(nextPressure(declared, 5000, 3)).toBe(0);
    expect(nextPressure({ ...declared, journalLimit: { bytes: 1000, policy: "pause" } }, 5000, 3)).toBe(0);
  });
});
