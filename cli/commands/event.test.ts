import { expect, it } from "vitest";
import { readEvent } from "#core/trigger/event.ts";
import { eventOf } from "./event.ts";

const now = new Date(Date.UTC(2030, 0, 1, 12));
const flags = { source: "farshore", reason: "smoke" };

it.each([
  ["custom", { ...flags, kind: "custom", vpg: "shop" }, undefined],
  ["custom", { ...flags, kind: "custom" }, "paris"],
  ["alarm", { ...flags, kind: "alarm", alarm: "paris-down" }, undefined],
  ["health", { ...flags, kind: "health", region: "eu-west-3" }, undefined],
] as const)("makes a %s event that the site reads", (kind, given, protectedSite) => {
  const reading = readEvent(eventOf(given, protectedSite, now), now.getTime());
  expect(reading).toMatchObject({ kind, trouble: true, reason: expect.stringContaining("smoke") });
});

it.each([
  ["a VPG and a site", { ...flags, kind: "custom", vpg: "shop" }, "paris"],
  ["neither", { ...flags, kind: "custom" }, undefined],
  ["an alarm without its name", { ...flags, kind: "alarm" }, undefined],
  ["AWS Health without a region", { ...flags, kind: "health" }, undefined],
  ["no reason", { source: "farshore", kind: "custom", vpg: "shop" }, undefined],
] as const)("refuses %s", (_case, given, protectedSite) => {
  expect(() => eventOf(given, protectedSite, now)).toThrow(expect.objectContaining({ name: "InvalidInput" }));
});
