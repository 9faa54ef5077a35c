import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { LogFields, Notice } from "#core/ports.ts";
import { LogNotify } from "./notify.ts";

const notice: Notice = {
  ...{ noticeId: "1-0-unreachable", kind: "unreachable", siteName: "berlin", vpgName: "shop", incidentId: "1" },
  text: "shop: its source has been silent for 5m",
};

let directory: string;
const lines: [string, LogFields | undefined][] = [];
const log = {
  debug() {},
  info() {},
  error() {},
  warn: (event: string, fields?: LogFields) => void lines.push([event, fields]),
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "fs-"));
  lines.length = 0;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function program(text: string): string {
  const file = join(directory, "tell");
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}

it("is a line in the log", async () => {
  await new LogNotify(log).publish(notice);
  expect(lines).toEqual([["notice", notice]]);
});

it("hands the program the notice", async () => {
  const told = join(directory, "told");
  await new LogNotify(log, program(`cat > '${told}'`)).publish(notice);
  expect(JSON.parse(readFileSync(told, "utf8"))).toEqual(notice);
});

it.each([
  ["fails", "cat > /dev/null; exit 3"],
  ["dies", "kill -9 $$"],
])("has told nobody when the program %s", async (_case, text) => {
  await expect(new LogNotify(log, program(text)).publish(notice)).rejects.toMatchObject({ name: "Transient" });
});

it("has told nobody when there is no such program, and minds none that doesn't read", async () => {
  await expect(new LogNotify(log, join(directory, "none")).publish(notice)).rejects.toMatchObject({
    name: "Transient",
  });
  await new LogNotify(log, program("exit 0")).publish({ ...notice, text: "x".repeat(200_000) });
});
