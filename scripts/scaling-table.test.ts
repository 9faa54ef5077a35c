import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { defaultQuotas, judge, needsOf } from "#core/cost/quotas.ts";
import { costTable, firstLimit, fleet, limitsTable } from "./scaling-table.ts";

it("is what docs/scaling.md says", () => {
  const text = readFileSync(new URL("../docs/scaling.md", import.meta.url), "utf8");
  for (const line of [...limitsTable(), ...costTable(), firstLimit(0), firstLimit(1)]) expect(text).toContain(line);
});

it("counts what a fleet needs", () => {
  // 20 VPGs: 40 gateways call every second while all fail over; each call reads its VPG, the list of its VPGs and its commands.
  const needs = needsOf(fleet(100), 20, defaultQuotas);
  const of = (what: string) => needs.find((need) => need.what === what)?.needs;
  expect(of("operations begun in one go, all listed under one key")).toBe(40);
  expect(of("writes of one VPG's batches, all under its key")).toBe(0.2);
  expect(of("reads of heartbeats")).toBe(40 * 3);
  expect(of("executions started in one go")).toBe(20);
  expect(of("functions at once")).toBe(300 + 100 + 22 + 20);
  expect(of("PUTs into the bucket, before S3 has split it by VPG")).toBe(4);
});

it("judges by the quota", () => {
  const need = { quota: "startsAtOnce", what: "x", has: 100, moves: "" } as const;
  expect([50, 51, 100, 101].map((needs) => judge({ ...need, needs }))).toEqual(["ok", "near", "near", "over"]);
});
