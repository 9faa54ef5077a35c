import { describe, expect, it } from "vitest";
import { type AllowedSkips, proofTable, type TestOutcome } from "./proof-table.ts";

const base = { project: "unit", file: "core/x.test.ts", group: "x" };
const passed: TestOutcome = { ...base, name: "x > works", state: "passed" };
const failed: TestOutcome = { ...base, name: "x > breaks", state: "failed" };
const peer = { project: "interop", file: "test/interop/fio.test.ts", group: "fio" };
const skipped = (name: string, note?: string): TestOutcome => ({
  ...peer,
  name: `fio > ${name}`,
  state: "skipped",
  ...(note === undefined ? {} : { note }),
});
const allowed: AllowedSkips = [
  { test: "^interop > .* > fio > ", note: "fio is not installed", enable: "npm run setup:peers", most: 2, inCi: false },
];
const totals = (outcomes: readonly TestOutcome[], inCi = false) => {
  const { passed, failed, skipped } = proofTable(outcomes, allowed, inCi);
  return [passed, failed, skipped];
};

describe("proofTable", () => {
  it("counts, and shows each group once under its project", () => {
    const proof = proofTable([passed, passed, skipped("a", "fio is not installed")], allowed, false);
    expect(proof).toMatchObject({ passed: 2, failed: 0, skipped: 1 });
    const cells = proof.lines.map((line) => line.trim().split(/ {2,}/));
    expect(cells).toEqual([
      [""],
      ["UNIT", "proved", "skipped because", "how to enable"],
      ["x", "2 proved"],
      [""],
      ["INTEROP", "proved", "skipped because", "how to enable"],
      ["fio", "1 skipped: fio is not installed", "npm run setup:peers"],
    ]);
  });

  it("names what failed", () => {
    const proof = proofTable([passed, failed], allowed, false);
    expect(proof).toMatchObject({ passed: 1, failed: 1, skipped: 0 });
    expect(proof.lines.at(-1)).toBe("  failed: unit > core/x.test.ts > x > breaks");
    expect(proof.lines.join("\n")).toContain("1 proved, 1 FAILED");
  });

  it.each<[string, TestOutcome]>([
    ["without a reason", skipped("a")],
    ["for another reason than the list knows", skipped("a", "because I say so")],
    ["of a test that isn't on the list", { ...skipped("a", "fio is not installed"), name: "other > a" }],
  ])("counts a skip %s as failed", (_, outcome) => {
    expect(totals([passed, outcome])).toEqual([1, 1, 0]);
  });

  it("counts skips beyond the entry's number as failed", () => {
    const outcomes = ["a", "b", "c"].map((name) => skipped(name, "fio is not installed"));
    expect(totals(outcomes)).toEqual([0, 1, 2]);
  });

  it("holds .ci/run to what may be skipped there", () => {
    expect(totals([skipped("a", "fio is not installed")], true)).toEqual([0, 1, 0]);
  });
});
