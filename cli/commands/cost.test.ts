import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { z } from "zod";
import { SiteStage } from "../../test/kit/served-site.ts";

const folder = mkdtempSync(join(tmpdir(), "farshore-cost-"));
afterAll(() => rmSync(folder, { recursive: true }));

const main = new URL("../main.ts", import.meta.url).pathname;

function cost(...options: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, "--json", "cost", ...options], {
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

const given = ["--change-rate", "4KiB", "--volumes", "100GiB"];
const replySchema = z.object({
  region: z.string(),
  idle: z.object({ usd: z.number() }),
  busy: z.object({ usd: z.number() }),
});

describe("farshore cost", () => {
  it("estimates from given numbers, and more for an interval of 1 s", () => {
    const [five, one] = [[], ["--interval", "1s"]].map((more) =>
      replySchema.parse(JSON.parse(cost(...given, ...more).stdout)),
    );
    expect(one?.idle.usd).toBeCloseTo(five?.idle.usd ?? 0, 0);
    // 2,073,600 batches more, and what makes layers and packs of them.
    expect((one?.busy.usd ?? 0) - (five?.busy.usd ?? 0)).toBeCloseTo(18.63 - 3.73 + 5.86, 0);
  });

  it("takes prices of a file", () => {
    const file = join(folder, "prices.json");
    const prices = { s3StoredGb: { usd: 1, per: 1, source: "a test" } };
    writeFileSync(file, JSON.stringify({ region: "mars-1", asOf: "2026-01-01", prices }));
    const reply = replySchema.parse(JSON.parse(cost(...given, "--prices", file).stdout));
    expect(reply.region).toBe("mars-1");
    expect(reply.idle.usd).toBeGreaterThan(50);
  });

  it("doesn't wait to measure a VPG that is not replicating", async () => {
    const site = await SiteStage.start({ volumes: [{ name: "data", sizeBytes: 65_536 }], checkpointIntervalMs: 1000 });
    onTestFinished(async () => {
      await site.close();
      site.remove();
    });
    const args = ["--site", site.url, "cost", "shop", "--measure", "1h"];
    const env = { ...process.env, FARSHORE_TOKEN: site.tokens.viewer };
    await expect(promisify(execFile)(process.execPath, [main, ...args], { env })).rejects.toMatchObject({
      stderr: expect.stringContaining("not replicating but no-session"),
    });
  });

  it.each([
    [[], "name a VPG, or give --change-rate and --volumes"],
    [["shop", ...given], "not both"],
    [[...given, "--compression", "2"], "--compression 2"],
    [[...given, "--interval", "5"], "not a duration"],
    [[...given, "--prices", "/nowhere.json"], "can't be read as JSON"],
  ])("refuses %j", (options, why) => {
    const { status, stderr } = cost(...options);
    expect(stderr).toContain(why);
    expect(status).not.toBe(0);
  });
});
