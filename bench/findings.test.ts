import { describe, expect, it } from "vitest";
import { Findings, spreadOf } from "./findings.ts";
import { linesOf } from "./print.ts";

const rate = { label: "rate", unit: "MB/s", digits: 1 };

describe("findings", () => {
  it("give the median of an odd and an even number of rounds, with the range", () => {
    expect(spreadOf([3, 1, 2])).toMatchObject({ median: 2, min: 1, max: 3 });
    expect(spreadOf([4, 1, 2, 3])).toMatchObject({ median: 2.5, min: 1, max: 4 });
  });

  it("take ratios round by round, not of medians", () => {
    const findings = new Findings();
    // The second round was disturbed for both alike.
    for (const value of [100, 10, 120]) findings.add("copy", "ours", rate, value);
    for (const value of [50, 5, 60]) findings.add("copy", "theirs", rate, value);
    findings.ratio("copy", rate, "ours", "theirs", { atLeast: 3 });
    expect(findings.record().ratios[0]).toMatchObject({ median: 2, min: 2, max: 2 });
  });

  it("print tables, ratios and whether aims were reached", () => {
    const findings = new Findings();
    findings.add("copy", "ours", rate, 100);
    findings.add("copy", "theirs", rate, 50);
    findings.ratio("copy", rate, "ours", "theirs", { atLeast: 3 });
    findings.goal("copy", "ours", rate, { atLeast: 90 });
    findings.limit("the disk does 200 MB/s");
    findings.remark("because");
    const text = linesOf(findings.record()).join("\n");
    expect(text).toMatch(/^ {2}ours +100\.0$/m);
    expect(text).toContain("ours / theirs = 2.00, aim ≥ 3: missed");
    expect(text).toContain("rate 100.0 MB/s, aim ≥ 90: reached");
    expect(text).toContain("the disk does 200 MB/s");
    expect(text).toContain("because");
  });

  it("refuse a ratio of what was never measured", () => {
    const findings = new Findings();
    findings.ratio("copy", rate, "ours", "theirs");
    expect(() => findings.record()).toThrow("nothing was measured of copy, ours, rate");
  });
});
