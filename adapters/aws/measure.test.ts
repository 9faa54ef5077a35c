import { afterEach, describe, expect, it, vi } from "vitest";
import { createMeasure, metricDimensions, metricNames, metricNamespace } from "./measure.ts";

afterEach(() => vi.restoreAllMocks());

/** The lines that were written for CloudWatch. */
function linesOf(work: () => void): unknown[] {
  const lines: string[] = [];
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => lines.push(String(text)) > 0);
  const log = vi.spyOn(console, "log").mockImplementation((text) => void lines.push(String(text)));
  work();
  write.mockRestore();
  log.mockRestore();
  return lines.filter((line) => line.includes("_aws")).map((line) => JSON.parse(line));
}

const figures = {
  vpgs: 3,
  vpgsNotMeetingSla: 1,
  rpoMsMax: 4200,
  backlogBytes: 7,
  operationsOpen: 0,
  alertsStanding: 2,
};

describe("a site's figures as metrics", () => {
  it("are one line with the namespace, the dimensions and a value each", () => {
    const measure = createMeasure("berlin");
    const [line, ...more] = linesOf(() => measure(figures));
    expect(more).toEqual([]);
    expect(line).toMatchObject({
      ...metricDimensions("berlin"),
      ...Object.fromEntries(Object.entries(figures).map(([name, value]) => [Reflect.get(metricNames, name), value])),
      _aws: { CloudWatchMetrics: [{ Namespace: metricNamespace, Dimensions: [["service", "site"]] }] },
    });
  });

  it("say nothing of an RPO that nobody has, and are written anew each time", () => {
    const measure = createMeasure("berlin");
    linesOf(() => measure(figures));
    const [line] = linesOf(() => measure({ ...figures, rpoMsMax: null }));
    expect(line).not.toHaveProperty(metricNames.rpoMsMax);
    expect(line).toMatchObject({ [metricNames.vpgs]: 3 });
  });
});
