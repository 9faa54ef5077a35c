import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { VpgView } from "#core/api/site-api.ts";
import { noticeKinds } from "#core/trigger/incident.ts";
import { makeSite, protect, twoVolumes } from "../test/kit/site.ts";
import { alertFacts, runbookAnchor } from "./alerts.ts";
import { vpgAlerts } from "./protection/vpg-alerts.ts";
import { vpgView } from "./protection/vpg-view.ts";
import { retentionSchema } from "./retention/policy.ts";

const read = (name: string): string => readFileSync(new URL(`../docs/${name}`, import.meta.url), "utf8");
const facts: readonly (readonly [string, (typeof alertFacts)[keyof typeof alertFacts]])[] = Object.entries(alertFacts);

describe("the list of alerts", () => {
  it("is what docs/alerts.md says", () => {
    const rows = facts.map(([id, { means, seen, runbook }]) => {
      const link = `[${runbook}](runbook.md#${runbookAnchor(runbook)})`;
      return `| \`${id}\` | ${means} | ${seen.join(", ")} | ${link} |`;
    });
    const table = read("alerts.md")
      .split("\n")
      .filter((line) => line.startsWith("| `"));
    expect(table).toEqual(rows);
  });

  it.each(facts)("sends to a heading of the runbook for %s", (_, { runbook }) => {
    expect(read("runbook.md").split("\n")).toContain(
      runbook.startsWith("Alarm: ") ? `### ${runbook}` : `## ${runbook}`,
    );
  });

  it("has every kind of notice once", () => {
    const notices = facts.flatMap(([, alert]) => ("notice" in alert ? alert.notice : []));
    expect(notices.toSorted()).toEqual([...noticeKinds].sort());
  });
});

describe("vpgAlerts", () => {
  it.each<[string, Partial<VpgView>, readonly string[]]>([
    ["all is well", {}, []],
    ["it is too old", { rpoMs: 20_000 }, ["rpo-missed"]],
    ["it is paused", { rpoMs: 20_000, substatus: "ReplicationPausedUserInitiated" }, []],
    ["a failover runs", { rpoMs: 20_000, operationId: "01k3s1te000000000000000009" as never }, []],
    ["its journal is broken", { status: "NotMeetingSLA", substatus: "Error" }, ["journal-broken"]],
    ["history is short", { status: "HistoryNotMeetingSLA" }, ["history-short"]],
    ["several gateways made no barrier", { barrierProblem: "x" }, ["no-barrier"]],
    ["an edit waits", { configurationProblem: "add x" }, ["edit-not-taken-up"]],
    ["it runs here", { role: "Runs", substatus: "NeedsConfiguration" }, ["not-protected"]],
  ])("when %s", async (_, over, kinds) => {
    const site = makeSite();
    const view = await vpgView(site, (await protect(site)).vpg);
    const alerts = vpgAlerts({ ...view, ...over });
    expect(alerts.map(({ alertId }) => alertId)).toEqual(kinds.map((kind) => `${kind}:shop`));
  });

  it("tells of a journal at its limit, what that means, and that it is why a checkpoint is old", async () => {
    const site = makeSite();
    const { vpg } = await protect(site, { ...twoVolumes, retention: retentionSchema.parse({}) });
    const view = await vpgView(site, { ...vpg, role: "Journal", journalFull: true });
    const { retention } = view;
    if (retention === undefined) throw new Error("no retention");
    const limit = 2 ** 30;
    const told = (over: Partial<VpgView>, policy: string, waits: string | null = null) =>
      vpgAlerts({
        ...{ ...view, journalBytes: 2 * limit, ...over },
        retention: { ...retention, journalFull: policy === "pause", journalLimit: { bytes: limit, policy }, waits },
      }).map(({ alertId, text }) => `${alertId} ${text}`);
    const full = { substatus: "ReplicationPausedSystemInitiated", rpoMs: 20_000 };
    expect(told(full, "pause", "lost-tail-kept")).toEqual([
      expect.stringMatching(/^journal-limit:shop .* policy pause; nothing is replicated until .*: lost-tail-kept$/),
      expect.stringMatching(/^rpo-missed:shop .*the journal is at its limit and takes nothing$/),
    ]);
    expect(told({}, "thin")).toEqual([expect.stringMatching(/^journal-limit:shop .* policy thin$/)]);
    expect(told({ role: "Preparing" }, "shorten")).toHaveLength(1);
    expect(told({ role: "Runs" }, "shorten")).toEqual([]);
    expect(told({ journalBytes: limit }, "thin", "no-second-clock")).toEqual(["retention-waits:shop no-second-clock"]);
    expect(told({ journalBytes: limit }, "thin", "lost-tail-kept")).toEqual([]);
  });

  it("says that a VPG behind its RPO is throttled", async () => {
    const site = makeSite();
    const view = await vpgView(site, (await protect(site)).vpg);
    const [alert] = vpgAlerts({ ...view, rpoMs: 20_000, throttleBytesPerSecond: 5_000_000 });
    expect(alert?.text).toContain("throttled to 5 MB/s");
  });
});
