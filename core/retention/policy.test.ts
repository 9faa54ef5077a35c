import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import { holds } from "../../test/kit/property.ts";
import { retentionLimits as limits } from "./limits.ts";
import {
  appliedRetention,
  type Candidate,
  clockTrouble,
  isFull,
  keptOf,
  nextPressure,
  retentionSchema,
} from "./policy.ts";

const [minute, hour, day] = [60_000, 3_600_000, 86_400_000];
const declared = retentionSchema.parse({});
const now = Date.UTC(2030, 0, 31);

const tails = ["01k3s1te000000000000000001", "01k3s1te000000000000000002"].map((id) => idSchema.parse(id));

/** Ascending by time, as a source with a steady clock makes them; some idle until the next. */
const candidates = fc
  .array(
    fc.record({
      gapMs: fc.oneof(fc.constant(5000), fc.integer({ min: 1, max: 3 * hour })),
      idle: fc.boolean(),
      tagged: fc.boolean(),
      pinned: fc.boolean(),
      lostTail: fc.constantFrom(undefined, undefined, ...tails),
    }),
    { minLength: 1, maxLength: 80 },
  )
  .map((steps) => {
    let time = now;
    const made: Candidate[] = [];
    for (const { gapMs, idle, tagged, pinned, lostTail } of steps) {
      const validThrough = idle ? time - 1 : time - gapMs;
      time -= gapMs;
      made.unshift({
        time,
        validThrough: Math.max(time, validThrough),
        tagged: tagged && gapMs > hour,
        pinned: pinned && idle,
        lostTail,
      });
    }
    return made;
  });
const historyMs = fc.constantFrom(minute, hour, day, 30 * day);

describe("which checkpoints stay", () => {
  it("always the newest of the history, what is pinned, and what is tagged for its time", () =>
    holds(
      fc.property(candidates, historyMs, (some, history) => {
        const kept = keptOf(some, appliedRetention(declared, history, 0), now);
        const newest = some.findLastIndex(({ lostTail }) => lostTail === undefined);
        if (newest >= 0) expect(kept[newest]).toBe(true);
        for (const [index, { pinned, tagged, validThrough }] of some.entries()) {
          if (pinned || (tagged && now - validThrough <= declared.taggedMs)) expect(kept[index]).toBe(true);
        }
      }),
    ));

  it("for every whole interval of a tier the one that shows what was there at its end, and no other of it", () =>
    holds(
      fc.property(candidates, (some) => {
        const plain = some.map((each) => ({ ...each, tagged: false, pinned: false, lostTail: undefined }));
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

  it("of the history and of each lost tail the same as if there were no other", () =>
    holds(
      fc.property(candidates, historyMs, (some, history) => {
        const retention = appliedRetention(declared, history, 0);
        const kept = keptOf(some, retention, now);
        for (const branch of [undefined, ...tails]) {
          const isOf = ({ lostTail }: Candidate): boolean => lostTail === branch;
          expect(kept.filter((_, index) => some[index]?.lostTail === branch)).toEqual(
            keptOf(some.filter(isOf), retention, now),
          );
        }
      }),
    ));

  it("of a lost tail nothing for ever: its newest is as old as any", () => {
    const [lostTail] = tails;
    const old = { time: now - 2 * day, validThrough: now - 2 * day, tagged: false, pinned: false };
    const retention = appliedRetention(declared, day, 0);
    expect(
      keptOf(
        [
          { ...old, lostTail: undefined },
          { ...old, lostTail },
        ],
        retention,
        now,
      ),
    ).toEqual([true, false]);
  });

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

  it("with pause is full from above it on until well below, and with another policy never", () => {
    const limit = { bytes: 1000, policy: "pause" as const };
    expect([1000, 1001].map((bytes) => isFull(limit, bytes, false))).toEqual([false, true]);
    expect([800, 799].map((bytes) => isFull(limit, bytes, true))).toEqual([true, false]);
    expect([isFull(limited.journalLimit, 5000, true), isFull(undefined, 5000, true)]).toEqual([false, false]);
  });
});
