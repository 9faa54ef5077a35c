import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";

const folder = mkdtempSync(join(tmpdir(), "farshore-cost-"));
afterAll(() => rmSync(folder, { recursive: true }));

function cost(...options: readonly string[]) {
  const main = new URL("../main.ts", import.meta.url).pathname;
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
    // 2,073,600 batches more.
    expect((one?.busy.usd ?? 0) - (five?.busy.usd ?? 0)).toBeCloseTo(18.63 - 3.73, 0);
  });

  it("takes prices of a file", () => {
    const file = join(folder, "prices.json");
    const prices = { s3StoredGb: { usd: 1, per: 1, source: "a test" } };
    writeFileSync(file, JSON.stringify({ region: "mars-1", asOf: "2026-01-01", prices }));
    const reply = replySchema.parse(JSON.parse(cost(...given, "--prices", file).stdout));
    expect(reply.region).toBe("mars-1");
    expect(reply.idle.usd).toBeGreaterThan(50);
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
