import { describe, expect, it } from "vitest";
import { liveReport, provedReport, reverseReport, syncReport, testReport } from "../../test/kit/reports.ts";
import { elementsOf, parseStrict, textsOf } from "../../test/kit/strict-markup.ts";
import { recoveryLimits as limits } from "./limits.ts";
import type { Report } from "./report.ts";
import { reportHtml } from "./report-html.ts";

const elements = (report: Report) => elementsOf(parseStrict(reportHtml(report)));

/** What is to be read, without what is between. */
function words(report: Report): string {
  const body = elements(report).find(({ name }) => name === "main");
  return body === undefined ? "" : textsOf(body).join("|");
}

/** The row that the heading heads, or undefined. */
function row(report: Report, heading: string): string | undefined {
  const found = elements(report).find(
    ({ name, children }) => name === "tr" && typeof children[0] === "object" && textsOf(children[0])[0] === heading,
  );
  return found && textsOf(found).slice(1).join("");
}

describe.each([
  ["live", liveReport],
  ["test", testReport],
  ["proved", provedReport],
  ["sync", syncReport],
  ["reverse", reverseReport],
])("the page of a %s report", (name, report) => {
  // Written anew by `vitest run --project unit --update core/recovery/report-html.test.ts`; look at it in a browser then.
  it("is what was looked at", async () => {
    await expect(reportHtml(report)).toMatchFileSnapshot(`golden/report-${name}.html`);
  });

  it("needs nothing else and runs nothing", () => {
    const all = elements(report);
    const allowed =
      "html head meta title style body main header footer section h1 h2 p table thead tbody tr th td time span strong";
    for (const { name: element, attributes } of all) {
      expect(allowed.split(" ")).toContain(element);
      for (const [attribute] of attributes) {
        expect(["xmlns", "lang", "charset", "http-equiv", "content", "name", "class", "scope", "datetime"]).toContain(
          attribute,
        );
      }
    }
    const style = all
      .filter((element) => element.name === "style")
      .flatMap(textsOf)
      .join("");
    expect(style).not.toMatch(/url|@import|expression|[<&]/);
    expect(style).toMatch(/@page/);
  });

  it("has one first heading, a heading for each section, and a scope for each table heading", () => {
    const all = elements(report);
    const count = (element: string) => all.filter((one) => one.name === element).length;
    expect([count("h1"), count("main"), count("h2")]).toEqual([1, 1, count("section")]);
    for (const { attributes } of all.filter((one) => one.name === "th")) {
      expect([
        ["scope", "row"],
        ["scope", "col"],
      ]).toContainEqual(attributes[0]);
    }
  });
});

describe("what the page says", () => {
  it("is what the commit asked for beyond what the start had", () => {
    const { decision } = liveReport;
    if (decision === null) throw new Error("no decision");
    const heading = "Reverse protection after the commit";
    const decided = (reverseProtection: boolean): Report => ({
      ...liveReport,
      decision: { ...decision, reverseProtection },
    });
    const began = liveReport.live?.reverseProtection === true;
    expect(row(liveReport, heading)).toBe(began ? "asked for" : "not asked for");
    expect(row(decided(!began), heading)).toBe(began ? "not asked for at the commit" : "asked for at the commit");
    expect(row(decided(began), heading)).toBe(began ? "asked for" : "not asked for");
  });

  it("is what to do next, apart from what went wrong", () => {
    expect(row(liveReport, "Message")).toBe("no room for db/data");
    expect(row(liveReport, "What to do next")).toMatch(/^shop runs here .* operation retry ID goes on$/);
    expect(row(testReport, "Message")).toBeUndefined();
  });

  it("is who asked and who decided", () => {
    expect(row(liveReport, "Initiated by")).toBe(liveReport.initiatedBy);
    expect(row(liveReport, "By")).toBe("system:policy: the commit policy, when its time was over");
    expect(words(liveReport)).toContain('approved by approver:ada: the "west" power is out');
    expect(words({ ...liveReport, decision: null })).toContain("None was recorded.");
  });

  it("is who approved it, and when", () => {
    expect(row(liveReport, "Approved by")).toBe("approver:ada");
    expect(row(liveReport, "Notes of the approval")).toBe('the "west" power is out');
    expect(row(provedReport, "Approved by")).toBeUndefined();
  });

  it("is the checkpoint's tags", () => {
    expect(row(testReport, "Tags")).toBe("before-upgrade, Tested at 2030-01-01T12:00:00.000Z");
    expect(row(liveReport, "Tags")).toBe("none");
    expect(row({ ...liveReport, checkpointTags: null }, "Tags")).toBe("not recorded");
  });

  it("is every try of one that was retargeted", () => {
    expect(row(provedReport, "2")).toContain("CommandFailed: the boot hook of db");
    expect(row(provedReport, "3")).toMatch(/^7-4021.*operator:bob.*5\.1 s$/);
    expect(words(liveReport)).not.toContain("Tries");
  });

  it("is what was hashed, differed and was shipped, and each verdict", () => {
    expect(row(provedReport, "In differing chunks")).toBe("1572864 bytes (1.50 MiB)");
    expect(row(provedReport, "web/root")).toBe("not provedChunk 12 differs.");
    expect(words(liveReport)).not.toMatch(/Verdicts|Hashed/);
  });

  it("is what both syncs of a reverse protection did", () => {
    const seed = { hashedBytes: 4_194_304, differingBytes: 65_536, shippedBytes: 70_000 };
    const sync = { hashedBytes: 8_388_608, differingBytes: 131_072, shippedBytes: 140_000 };
    const said = words({ ...liveReport, kind: "reverse-protection", reverseFigures: { seed, sync } });
    expect(said).toMatch(/Sync: old disks[\s|]+Hashed\|4194304 bytes/);
    expect(said).toMatch(/Sync: running disks[\s|]+Hashed\|8388608 bytes/);
    expect(said).toContain("Shipped|140000 bytes");
  });

  it("is what a sync and a reversal were asked, and no RTO or RPO, which they have not", () => {
    expect(row(syncReport, "Chunks compared")).toBe("all");
    expect(row(reverseReport, "The old source's gateway")).toContain("lost");
    expect(row(reverseReport, "By")).toBe("system:workflow: the workflow, as was asked for");
    for (const report of [syncReport, reverseReport]) {
      expect(words(report)).toContain("Completed.");
      expect(words(report)).not.toMatch(/not recorded: a commit|verdict|What was reached|Options/);
    }
  });

  it("is that the source was left off, and that a rollback measured nothing", () => {
    const back: Report = { ...liveReport, phase: "RolledBack", lostTail: null, sourceLeftOff: true };
    expect(row(back, "RPO")).toBe("not measured: nothing was committed");
    expect(row(back, "Source")).toContain("left off");
    expect(row(liveReport, "Source")).toBeUndefined();
  });

  it("is unknown where the source didn't say its last write", () => {
    const lostTail = { certainty: "exact", ms: 3100, writes: 472, bytes: 1_572_864 } as const;
    expect(row(liveReport, "RPO")).toBe("unknown, at least 3.1 s");
    expect(row(liveReport, "Writes not recovered")).toBe("unknown, at least 472");
    expect(row({ ...liveReport, lostTail }, "Writes not recovered")).toBe("472");
    expect(row({ ...liveReport, lostTail: null }, "RPO")).toBe("not recorded: a commit measures it");
    expect(row(testReport, "RPO")).toBe("not measured by a test");
  });

  it("is not recorded where an older report has nothing", () => {
    const older = { ...liveReport, live: null, vms: null, version: null, rtoMs: null, checkpointTime: null };
    expect(row(older, "Options")).toBe("not recorded");
    expect(row(older, "RTO")).toBe("not reached");
    expect(row(older, "Time at the source")).toBe("not recorded");
    expect(row(older, "db")).toBe("not recordeddata1not recordednbd+unix:///db-data?socket=/run/fs/1.sock");
    expect(words(older)).toContain("Only volumes that were exported were recorded.");
    expect(words(older)).toContain("of a version that was not recorded");
  });

  it.each<[Partial<Report>, string]>([
    [{}, "Succeeded."],
    [{ kind: "delta-sync" }, "Completed."],
    [{ decision: { decision: "stop", by: "x", at: 0, success: false, notes: "" } }, "Did not succeed."],
    [{ decision: null }, "Stopped without a verdict."],
    [{ phase: "Failed" }, "Failed."],
    [{ kind: "failover-live" }, "Committed."],
    [{ kind: "failover-live", phase: "RolledBack" }, "Rolled back."],
  ])("%o: %s", (change, verdict) => {
    const [header] = elements({ ...testReport, ...change }).filter(({ name }) => name === "header");
    expect(header && textsOf(header)).toContain(verdict);
  });
});

it("is bounded, and says what stands in the JSON alone", () => {
  const long = "\u202e".repeat(500);
  const one = { ...liveReport.steps[0], state: "failed" as const, startedAt: 0, endedAt: 0, durationMs: 0 };
  const steps = Array.from({ length: 500 }, () => ({
    ...one,
    step: long,
    result: long,
    error: { name: long, message: long },
  }));
  const volumes = Array.from({ length: 500 }, (_, number) => ({ name: long, number, sizeBytes: 1 }));
  const giant: Report = {
    ...liveReport,
    ...{ vpgName: long, protectedSite: long, recoverySite: long, initiatedBy: long, checkpointId: long, version: long },
    ...{ lostTailText: long, error: { name: long, message: `${long} → ${long}` }, steps },
    incident: {
      ...{ incidentId: liveReport.vpgId, reason: long },
      approval: { by: long, at: 0, notes: long },
      evidence: steps.map(() => long),
    },
    checkpointTags: steps.map(() => long),
    verdicts: steps.map(() => ({ name: long, ok: false, text: long })),
    decision: { decision: "commit", by: long, at: 0, success: null, notes: long },
    vms: [{ name: long, bootGroup: 1, volumes }],
    exports: volumes.map(({ number }) => ({ vm: long, volume: long, number, uri: long })),
  };
  expect(new TextEncoder().encode(reportHtml(giant)).length).toBeLessThanOrEqual(limits.reportHtmlBytesMax);
  const said = words(giant);
  expect(said).toContain("(460 more characters in the JSON report)");
  expect(said).toContain(`${500 - limits.reportRowsMax} more in the JSON report.`);
});
