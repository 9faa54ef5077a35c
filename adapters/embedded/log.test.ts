import { describe, expect, it } from "vitest";
import { Fenced } from "#core/errors.ts";
import type { LogFields } from "#core/ports.ts";
import { createLog, type LogLevel } from "./log.ts";

function logTo(level?: LogLevel) {
  const lines: Record<string, unknown>[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line)) };
  return { lines, log: createLog({ stream, fields: { site: "north" }, ...(level === undefined ? {} : { level }) }) };
}

function logged(fields: LogFields): Record<string, unknown> {
  const { lines, log } = logTo();
  log.info("event", fields);
  return lines[0] ?? {};
}

describe("createLog", () => {
  it("writes one JSON line an event, with its level, time and fields", () => {
    const { lines, log } = logTo("debug");
    for (const level of ["debug", "info", "warn", "error"] as const) log[level](`${level}-event`, { n: 1 });
    expect(lines.map((line) => line["event"])).toEqual(["debug-event", "info-event", "warn-event", "error-event"]);
    expect(lines[0]).toMatchObject({ site: "north", n: 1, time: expect.stringMatching(/^\d{4}-.*Z$/) });
  });

  it("leaves out what is below its level", () => {
    const { lines, log } = logTo();
    log.debug("quiet");
    log.info("heard");
    expect(lines).toHaveLength(1);
  });

  it.each([
    { token: "s3cret" },
    { taskToken: "s3cret" },
    { Authorization: "Bearer s3cret" },
    { headers: { authorization: "s3cret", Cookie: "a=s3cret" } },
    { list: [{ deep: { password: "s3cret" } }] },
    { message: "sent Bearer s3cret to the site" },
    { clientSecret: { inside: "s3cret" } },
    { error: new Fenced("over", { token: "s3cret" }) },
    { error: new Error("outer", { cause: new Error("header: authorization Bearer s3cret") }) },
  ])("hides credentials in %j", (fields) => {
    const line = JSON.stringify(logged(fields));
    expect(line).not.toContain("s3cret");
    expect(line).toContain("[hidden]");
  });

  it("keeps what only speaks of tokens", () => {
    expect(logged({ tokenName: "gateway-1", tokenCount: 3 })).toMatchObject({ tokenName: "gateway-1", tokenCount: 3 });
  });

  it("spells out errors with their details and causes", () => {
    const cause = new Error("disk");
    expect(logged({ error: new Fenced("over", { term: 3 }, { cause }) })).toMatchObject({
      error: {
        name: "Fenced",
        message: "over",
        kind: "operator",
        details: { term: 3 },
        cause: { name: "Error", message: "disk", stack: expect.stringContaining("disk") },
        stack: expect.stringContaining("log.test"),
      },
    });
  });

  it("writes big integers, dates, bytes and values that hold themselves", () => {
    const loop: Record<string, unknown> = {};
    loop["self"] = loop;
    const line = logged({ big: 2n ** 64n, at: new Date(0), bytes: new Uint8Array(3), loop });
    expect(line).toMatchObject({ big: "18446744073709551616", at: "1970-01-01T00:00:00.000Z", bytes: "[3 bytes]" });
    expect(JSON.stringify(line)).toContain("[too deep]");
  });
});
