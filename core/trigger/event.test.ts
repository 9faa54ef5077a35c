import { describe, expect, it } from "vitest";
import { readEvent } from "./event.ts";
import { triggerPolicySchema } from "./policy.ts";

const now = Date.UTC(2030, 0, 1, 12);
const time = new Date(now - 60_000).toISOString();

/** As EventBridge delivers them ("Amazon CloudWatch events sample", "AWS Health event schema"). */
const alarm = {
  ...{ version: "0", id: "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92", account: "123456789012", time, region: "us-east-1" },
  ...{ source: "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change", resources: ["arn:aws:cloudwatch:x"] },
  detail: {
    alarmName: "paris-down",
    state: { value: "ALARM", reason: "Threshold Crossed", reasonData: "{}", timestamp: "2030-01-01T11:59:00.000+0000" },
    previousState: { value: "OK" },
  },
};
const health = {
  ...{ version: "0", id: "7bf73129-1428-4cd3-a780-95db273d1602", account: "123456789012", time, region: "us-west-2" },
  ...{ source: "aws.health", "detail-type": "AWS Health Event", resources: [] },
  detail: {
    ...{ service: "EC2", eventTypeCode: "AWS_EC2_OPERATIONAL_ISSUE", eventTypeCategory: "issue", statusCode: "open" },
    ...{ eventRegion: "eu-west-3", eventDescription: [{ language: "en_US", latestDescription: "…" }] },
  },
};
const custom = {
  ...{ id: "1", time, source: "oncall", "detail-type": "x" },
  detail: { site: "paris", reason: "power is out" },
};
const vpg = (over: object) =>
  ({
    ...{ vpgId: "x", name: "shop", protectedSite: "paris", trigger: triggerPolicySchema.parse({}) },
    ...over,
  }) as unknown as Parameters<ReturnType<typeof readEvent>["concerns"]>[0];

describe("readEvent", () => {
  it("reads an alarm's change, for the VPGs that name the alarm", () => {
    const reading = readEvent(alarm, now);
    expect(reading).toMatchObject({ kind: "alarm", trouble: true, reason: expect.stringContaining("paris-down") });
    expect(reading.concerns(vpg({}))).toBe(false);
    expect(reading.concerns(vpg({ trigger: triggerPolicySchema.parse({ alarms: ["paris-down"] }) }))).toBe(true);
    const ok = { ...alarm, detail: { ...alarm.detail, state: { value: "OK", reason: "" } } };
    expect(readEvent(ok, now).trouble).toBe(false);
  });

  it("takes missing data for trouble", () => {
    const blind = { ...alarm, detail: { ...alarm.detail, state: { value: "INSUFFICIENT_DATA", reason: "" } } };
    expect(readEvent(blind, now).trouble).toBe(true);
  });

  it("reads AWS Health's issues, by the region of the trouble", () => {
    const reading = readEvent(health, now);
    expect(reading).toMatchObject({ kind: "health", trouble: true });
    expect(reading.concerns(vpg({ trigger: triggerPolicySchema.parse({ regions: ["eu-west-3"] }) }))).toBe(true);
    expect(reading.concerns(vpg({ trigger: triggerPolicySchema.parse({ regions: ["us-west-2"] }) }))).toBe(false);
    const planned = { ...health, detail: { ...health.detail, eventTypeCategory: "scheduledChange" } };
    expect(readEvent(planned, now).trouble).toBe(false);
  });

  it("reads a custom event about a VPG or a whole protected site", () => {
    expect(readEvent(custom, now).concerns(vpg({}))).toBe(true);
    expect(readEvent(custom, now).concerns(vpg({ protectedSite: "rome" }))).toBe(false);
    const about = { ...custom, detail: { vpg: "shop", reason: "smoke" } };
    expect(readEvent(about, now).concerns(vpg({}))).toBe(true);
    expect(readEvent(about, now).concerns(vpg({ name: "other" }))).toBe(false);
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["a text", "power is out"],
    ["no id", { ...custom, id: undefined }],
    ["no detail", { ...custom, detail: undefined }],
    ["a detail without a reason", { ...custom, detail: { vpg: "shop" } }],
    ["a detail about both", { ...custom, detail: { vpg: "shop", site: "paris", reason: "x" } }],
    ["a detail with more", { ...custom, detail: { vpg: "shop", reason: "x", start: true } }],
    ["a reason that is too long", { ...custom, detail: { vpg: "shop", reason: "x".repeat(501) } }],
    ["a megabyte", { ...custom, padding: "x".repeat(2 ** 20) }],
    ["a time that is none", { ...custom, time: "noon" }],
    ["an event of yesterday", { ...custom, time: new Date(now - 86_400_000).toISOString() }],
    ["an event of tomorrow", { ...custom, time: new Date(now + 86_400_000).toISOString() }],
    ["another service of AWS", { ...custom, source: "aws.ec2" }],
    ["another kind of CloudWatch's", { ...alarm, "detail-type": "CloudWatch Alarm Configuration Change" }],
    ["an alarm without a state", { ...alarm, detail: { alarmName: "paris-down" } }],
    ["another kind of Health's", { ...health, "detail-type": "AWS Health Abuse Event" }],
  ])("refuses %s by name", (_case, event) => {
    expect(() => readEvent(event, now)).toThrow(expect.objectContaining({ name: "InvalidInput" }));
  });
});
