import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { z } from "zod";
import { SiteStage } from "../../test/kit/served-site.ts";

const run = promisify(execFile);
const main = new URL("../main.ts", import.meta.url).pathname;

function check(options: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const whole = { ...process.env, FARSHORE_TOKEN: "", ...env };
  return run(process.execPath, [main, "--json", "site", "check", ...options], { env: whole }).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
}

describe("farshore site check", () => {
  it("tells an embedded site's free space and open files", async () => {
    const { stdout } = await check(["--data", tmpdir()]);
    const reply = z.object({ freeBytes: z.int().positive(), openFiles: z.int().nullable() }).parse(JSON.parse(stdout));
    if (process.platform === "linux") expect(reply.openFiles).toBeGreaterThan(0);
  });

  it("says where to run it for an embedded site, and refuses a directory that isn't there", async () => {
    expect((await check([])).stderr).toContain("with --data <dir>");
    expect((await check(["--data", "/nowhere"])).stderr).toContain("--data /nowhere");
  });

  it("says of each number of a site on AWS where it is from, whatever the site's URL", async () => {
    const url = await standIn({ QuotaName: "StartExecution throttle token bucket size", Value: 900 });
    const { stdout } = await check(["--auth", "iam", "--site", url], {
      ...{ AWS_REGION: "eu-central-1", AWS_ENDPOINT_URL: url },
      ...{ AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" },
    });
    const need = z.object({ quota: z.string(), has: z.number(), source: z.string() });
    const { needs } = z.object({ needs: z.array(need) }).parse(JSON.parse(stdout));
    const of = (quota: string) => needs.find((each) => each.quota === quota);
    expect(of("startsAtOnce")).toMatchObject({ has: 900, source: "read" });
    expect(of("lambdaConcurrency")).toMatchObject({ has: 10, source: "read" });
    expect(of("transitionsPerSecond")).toMatchObject({ has: 800, source: "default" });
    expect(of("ingestConcurrency")).toMatchObject({ has: 300, source: "stack" });
  });
});

/** A site behind a name of its own and its account: the status of a real site, and these quotas. */
async function standIn(quota: object): Promise<string> {
  const site = await SiteStage.start({ volumes: [{ name: "data", sizeBytes: 65_536 }], checkpointIntervalMs: 1000 });
  const status = (await site.call("/v1/status", { token: site.tokens.viewer })).text;
  await site.close();
  site.remove();
  const server = createServer(({ url = "" }, reply) => {
    reply.setHeader("content-type", "application/json");
    const account = { AccountLimit: { ConcurrentExecutions: 10 } };
    if (url === "/v1/status") reply.end(status);
    else reply.end(JSON.stringify(url.includes("account-settings") ? account : { Quotas: [quota] }));
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${portOf(server.address())}`;
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return address.port;
}
