import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { keepPeerToken, readPeerToken } from "./peer-tokens.ts";

let data = "";
beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), "fs-peer-tokens-"));
});
afterEach(() => rmSync(data, { recursive: true, force: true }));

const modeOf = (...path: readonly string[]): number => statSync(join(data, ...path)).mode & 0o777;

it("keeps a token for its owner alone, and knows none of a peer that was given none", async () => {
  await keepPeerToken(data, "berlin", "  fs1.secret\n");
  expect(await readPeerToken(data, "berlin")).toBe("fs1.secret");
  expect(await readPeerToken(data, "paris")).toBeUndefined();
  expect([modeOf("peer-tokens"), modeOf("peer-tokens", "berlin.token")]).toEqual([0o700, 0o600]);
});

it("replaces a token whole, whatever an interrupted replacement left behind", async () => {
  await keepPeerToken(data, "berlin", "first");
  const left = join(data, "peer-tokens", "berlin.token.new");
  writeFileSync(left, "half of a longer one");
  chmodSync(left, 0o644);
  await keepPeerToken(data, "berlin", "second");
  expect(await readPeerToken(data, "berlin")).toBe("second");
  expect(readdirSync(join(data, "peer-tokens"))).toEqual(["berlin.token"]);
  expect(modeOf("peer-tokens", "berlin.token")).toBe(0o600);
});

it.each(["", " \n", "two words", "line\nline", "x".repeat(201), "caf\u00e9"])(
  "refuses %j as a token and keeps the one before",
  async (text) => {
    await keepPeerToken(data, "berlin", "first");
    await expect(keepPeerToken(data, "berlin", text)).rejects.toMatchObject({ name: "InvalidInput" });
    expect(await readPeerToken(data, "berlin")).toBe("first");
  },
);

it("says so when the file is there and can't be read", async () => {
  mkdirSync(join(data, "peer-tokens", "berlin.token"), { recursive: true });
  await expect(readPeerToken(data, "berlin")).rejects.toMatchObject({ code: "EISDIR" });
});
