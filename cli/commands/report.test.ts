import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { siteKey } from "#core/journal/keys.ts";
import { createToken } from "#core/protection/tokens.ts";
import { rebuildOperations } from "#core/recovery/rebuild-operations.ts";
import { storeReport } from "#core/recovery/report.ts";
import { reportHtml } from "#core/recovery/report-html.ts";
import { handler } from "../../functions/site-api/handler.ts";
import { httpCall } from "../../test/kit/http-call.ts";
import { liveReport, testReport } from "../../test/kit/reports.ts";
import { makeSite, operator } from "../../test/kit/site.ts";
import { type HttpServer, startHttpServer } from "../site/http-server.ts";
import { registerReport } from "./report.ts";

const directory = mkdtempSync(join(tmpdir(), "farshore-report-"));
const report = { ...testReport, steps: [] };
const id = report.operationId;
let server: HttpServer;
let token: string;

beforeAll(async () => {
  const site = makeSite();
  await storeReport(site, report);
  await rebuildOperations(site);
  token = (await createToken(site, { name: "eve", role: "viewer" }, operator)).token;
  const mount = { prefix: "/", functionName: "site-api", handler, bodyBytesMax: 100 };
  server = await startHttpServer(site, [mount], { host: "127.0.0.1", port: 0 }, undefined);
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

async function farshore(...given: string[]): Promise<void> {
  const program = new Command().option("--site <url>").option("--token <token>").option("--json");
  registerReport(program);
  await program.parseAsync(["--site", server.url, "--token", token, ...given], { from: "user" });
}

it("is served as a page that may do nothing", async () => {
  const answer = await httpCall(server.url, `/v1/reports/${id}/html`, { token });
  expect(answer.text).toBe(reportHtml(report));
  expect(answer.headers).toMatchObject({
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
  });
});

it("is written into a new file, and over none", async () => {
  const file = join(directory, "report.html");
  await farshore("report", "show", id, "--html", "--output", file);
  expect(readFileSync(file, "utf8")).toBe(reportHtml(report));
  const again = farshore("report", "show", id, "--html", "--output", file);
  await expect(again).rejects.toMatchObject({ name: "InvalidInput", message: expect.stringContaining("EEXIST") });
});

it("is read of a bucket alone, the last attempt's, in both forms", async () => {
  const bucket = join(directory, "site");
  const objects = await FileObjects.open(join(bucket, "objects"));
  await objects.put(siteKey, new Uint8Array(1), { ifAbsent: true });
  await storeReport({ ...makeSite(), objects }, { ...liveReport, attempt: 1 });
  await storeReport({ ...makeSite(), objects }, report);
  const file = join(directory, "offline.html");
  await farshore("report", "show", id, "--offline", bucket, "--html", "--output", file);
  expect(readFileSync(file, "utf8")).toBe(reportHtml(report));
  const lines: string[] = [];
  const written = vi.spyOn(process.stdout, "write").mockImplementation((text) => lines.push(String(text)) > 0);
  await farshore("--json", "report", "show", id, "--offline", bucket).finally(() => written.mockRestore());
  expect(JSON.parse(lines.join(""))).toEqual(JSON.parse(JSON.stringify(report)));
  const none = farshore("report", "show", "01k3s1te0000000000000000yy", "--offline", bucket);
  await expect(none).rejects.toMatchObject({ name: "NotFound" });
});

it.each([
  ["--output without a page", ["--output", join(directory, "x")], /add --html/],
  ["a page as JSON", ["--html", "--json"], /a page is no JSON/],
])("refuses %s", async (_case, flags, message) => {
  await expect(farshore("report", "show", id, ...flags)).rejects.toThrow(message);
  expect(existsSync(join(directory, "x"))).toBe(false);
});
