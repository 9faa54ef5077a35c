import { expect, it } from "vitest";
import { parseSelector, parseTime } from "./selector.ts";

it.each([
  ["latest", { kind: "latest" }],
  ["tag:before the upgrade", { kind: "tag", tag: "before the upgrade" }],
  ["12-3456", { kind: "id", id: "12-3456" }],
  ["2026-11-21T20:47:00Z", { kind: "time", time: 1_795_294_020_000 }],
  ["2026-11-21T21:47:00.500+01:00", { kind: "time", time: 1_795_294_020_500 }],
])("%s", (text, selector) => {
  expect(parseSelector(text)).toEqual(selector);
});

it.each(["", "yesterday", "2026-11-21T20:47:00", "2026-11-21", "12", "2026-13-45T99:99:99Z"])(
  "refuses %o by name",
  (text) => {
    expect(() => parseSelector(text)).toThrow(expect.objectContaining({ name: "InvalidInput" }));
  },
);

it("says of an option that takes a time that it is one", () => {
  expect(() => parseTime("yesterday")).toThrow('"yesterday" is no time');
  expect(() => parseSelector("yesterday")).toThrow('"yesterday" is no checkpoint');
});

it("wants a zone, since a time without one means another instant elsewhere", () => {
  expect(() => parseTime("2026-11-21T20:47:00")).toThrow(/zone/);
});
