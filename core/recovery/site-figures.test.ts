import { describe, expect, it } from "vitest";
import { alertOn } from "#core/protection/vpg-alerts.ts";
import { makeSite, protect, twoVolumes } from "../../test/kit/site.ts";
import { siteFigures } from "./site-figures.ts";
import { siteStatus } from "./site-status.ts";

describe("a site's figures", () => {
  it("of a site without VPGs are zeros, and no RPO", async () => {
    expect(siteFigures(await siteStatus(makeSite()))).toEqual({
      ...{ vpgs: 0, vpgsNotMeetingSla: 0, rpoMsMax: null, backlogBytes: 0, operationsOpen: 0, alertsStanding: 0 },
    });
  });

  it("count what misses its SLA, and take the worst RPO of what is protected here", async () => {
    const site = makeSite();
    await protect(site, twoVolumes);
    const status = await siteStatus(site);
    const [shop] = status.vpgs;
    if (shop === undefined) throw new Error("no VPG");
    const vpgs = [
      { ...shop, status: "MeetingSLA" as const, rpoMs: 4000, backlogBytes: 5 },
      { ...shop, status: "RpoNotMeetingSLA" as const, rpoMs: 90_000, backlogBytes: 7 },
      { ...shop, status: "NotMeetingSLA" as const, rpoMs: null },
      { ...shop, status: "Recovered" as const, role: "Runs" as const, rpoMs: 9e9, backlogBytes: 11 },
    ];
    // Of a late checkpoint the first figure tells, of a silent source a notice.
    const alerts = [
      alertOn("journal-damaged", "shop", "an object"),
      alertOn("decision-waits", "shop", "an hour"),
      alertOn("rpo-missed", "shop", "late"),
      alertOn("source-unreachable", "shop", "silent"),
    ];
    expect(siteFigures({ ...status, vpgs, alerts })).toMatchObject({
      ...{ vpgs: 4, vpgsNotMeetingSla: 2, rpoMsMax: 90_000, backlogBytes: 12, alertsStanding: 2 },
    });
  });
});
