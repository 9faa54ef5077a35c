import { describe, expect, it } from "vitest";
import { reverseRules } from "#core/protection/reverse-rules.ts";
import { explore } from "./explore.ts";
import { reverseModel, type Scenario } from "./reverse-model.ts";
import { type Budget, strangersOffer, type World, worldAfterCommit } from "./reverse-world.ts";

const none: Budget = { withdrawals: 0, restores: 0, replacements: 0, losses: 0 };
const statesMax = 60_000;

function started(budget: Partial<Budget>, gateways = 1): readonly World[] {
  return [true, false].map((open) => worldAfterCommit(gateways, open, { ...none, ...budget }));
}

const once: Scenario = { start: started({}), termsMax: 3, failsOver: false };
const home: Scenario = { start: started({}), termsMax: 5, failsOver: true };
const withStranger = [
  worldAfterCommit(1, true, none, [strangersOffer("b", 4), strangersOffer("a", 3), strangersOffer("a", 5)]),
];

/** Messages lost, doubled, late and in any order, and kills between any two durable changes, are in all of them. */
const scenarios: Readonly<Record<string, Scenario>> = {
  "one way, two gateways at the old site": { ...once, start: started({}, 2) },
  "taken back and offered again": { ...once, start: started({ withdrawals: 1 }), termsMax: 4 },
  "an old table comes back, and offers are taken back": {
    ...once,
    start: started({ withdrawals: 1, restores: 1 }),
    termsMax: 4,
  },
  "a gateway loses its state directory": { ...once, start: started({ replacements: 1 }, 2) },
  "the old site is lost at any moment, and --force": { ...once, start: started({ losses: 1 }), termsMax: 4 },
  "the old gateway is gone from the start": { ...once, start: [worldAfterCommit(0, false, none)] },
  "home again": home,
  "home again, with an old table": { ...home, start: started({ restores: 1 }) },
  "home again, with one offer taken back on the way": {
    ...home,
    start: [worldAfterCommit(1, true, { ...none, withdrawals: 1 })],
  },
  "offers of a stranger": { ...home, start: withStranger },
};

const late: Scenario = { ...once, start: started({ withdrawals: 1 }), termsMax: 4 };

/** Each guard of the rules taken away, and what breaks then. */
const mutations: readonly (readonly [string, Scenario, string])[] = [
  ["numbers are used again", { ...late, rules: { isNew: () => true } }, "an old offer revives"],
  [
    "nobody looks where an offer comes from",
    { ...home, start: withStranger, rules: { descends: () => true } },
    "a stranger's offer is taken",
  ],
  [
    "a keyholder gives way (after --force where the peer lived on)",
    {
      ...once,
      termsMax: 5,
      forcesWrongly: true,
      only: [],
      rules: { mayYield: () => true, descends: () => true },
    },
    "a keyholder gives way to an offer",
  ],
  [
    "an offer is taken while an operation runs",
    { ...home, rules: { isIdle: () => true } },
    "an offer is taken beside an operation",
  ],
  [
    "the old site answers before its gateways have closed",
    { ...once, rules: { allClosed: () => true } },
    "two sites' disks take writes",
  ],
  [
    "one of two gateways is enough",
    { ...once, start: started({}, 2), closesOne: true },
    "two sites' disks take writes",
  ],
  ["a gateway forgets that it is closed", { ...once, forgetsClosed: true }, "two sites' disks take writes"],
  [
    "a gateway may serve whatever its site's role is",
    { ...once, start: started({ replacements: 1 }), rules: { mayServe: () => true } },
    "two sites' disks take writes",
  ],
  [
    "a journal counts before its first checkpoint",
    { ...once, rules: { hasCheckpoint: () => true } },
    "a journal without a checkpoint of its own term",
  ],
  [
    "batches of any term are taken",
    {
      ...once,
      termsMax: 5,
      forcesWrongly: true,
      only: ["a journal without a checkpoint of its own term"],
      rules: {
        mayIngest: ({ role, pending }) => pending === undefined && (role === "Preparing" || role === "Journal"),
      },
    },
    "a journal without a checkpoint of its own term",
  ],
  [
    "the runner keeps the key beside the journal",
    { ...once, rules: { holdsKey: (standing) => standing.role === "Runs" || reverseRules.holdsKey(standing) } },
    "two sites can mint the next term",
  ],
  ["--force while the peer lives", { ...once, termsMax: 4, forcesWrongly: true }, "two sites can mint the next term"],
  [
    "tables are believed",
    { ...once, start: started({ restores: 1, replacements: 1 }), trustsOldTables: true },
    "two sites' disks take writes",
  ],
  ["a term that has begun is taken back", { ...once, withdrawsAnyway: true }, "one number means two things"],
  [
    "an answer to an older offer counts",
    { ...home, start: [worldAfterCommit(1, true, none)], termsMax: 7, rules: { answersOffer: () => true } },
    "two sites' disks take writes",
  ],
];

describe("the model of reverse protection", () => {
  it.each(Object.entries(scenarios))("holds: %s", (name, scenario) => {
    const { states, steps, depth, ends, counterexample } = explore(reverseModel(scenario), statesMax);
    console.log(`${name}: ${states} states, ${steps} steps, ${depth} deep, ${ends} ends`);
    expect(counterexample).toBeNull();
    expect(ends).toBeGreaterThan(0);
  });

  it.each(mutations)("finds what a rule is there for: %s", (name, scenario, broken) => {
    const { counterexample } = explore(reverseModel(scenario), statesMax);
    console.log(`${name}: ${counterexample?.broken}\n  ${counterexample?.trace.join("\n  ")}`);
    expect(counterexample?.broken).toBe(broken);
  });
});
