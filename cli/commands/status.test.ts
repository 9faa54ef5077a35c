import { describe, expect, it } from "vitest";
import { statusExitCode } from "./status.ts";

type Judged = Parameters<typeof statusExitCode>[0];

const good: Judged = {
  alerts: [],
  vpgs: [{ status: "MeetingSLA" }, { status: "Recovered" }],
  gateways: [{ connected: true }],
};

describe("the exit status of farshore status", () => {
  it.each<readonly [string, Judged, number]>([
    ["all is well", good, 0],
    ["a site is empty", { alerts: [], vpgs: [], gateways: [] }, 0],
    ["a VPG copies for the first time", { ...good, vpgs: [{ status: "Initializing" }] }, 1],
    ["a failover is open", { ...good, vpgs: [{ status: "FailingOver" }] }, 1],
    ["a gateway is silent", { ...good, gateways: [{ connected: false }] }, 1],
    ["there is an alert", { ...good, alerts: [{}] }, 1],
    ["the RPO is not met", { ...good, vpgs: [{ status: "MeetingSLA" }, { status: "RpoNotMeetingSLA" }] }, 2],
    [
      "nothing is met, and a gateway is silent",
      { alerts: [{}], vpgs: [{ status: "NotMeetingSLA" }], gateways: [{ connected: false }] },
      2,
    ],
  ])("when %s", (_, status, code) => {
    expect(statusExitCode(status)).toBe(code);
  });
});
