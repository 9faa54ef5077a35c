import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SiteStage } from "../../test/kit/served-site.ts";

const run = promisify(execFile);
const main = new URL("../main.ts", import.meta.url).pathname;
const plan = { volumes: [{ name: "data", sizeBytes: 65_536 }], checkpointIntervalMs: 1000 };

let own: SiteStage;
let peer: SiteStage;
beforeAll(async () => {
  [own, peer] = await Promise.all([SiteStage.start(plan), SiteStage.start(plan)]);
});
afterAll(async () => {
  for (const site of [own, peer]) {
    await site.close();
    site.remove();
  }
});

/** The exit status and all that was printed. */
async function farshore(...args: readonly string[]): Promise<{ status: number; text: string }> {
  const env = {
    ...process.env,
    FARSHORE_SITE: own.url,
    FARSHORE_TOKEN: own.tokens.operator,
    FARSHORE_PEER_TOKEN: peer.tokens.viewer,
  };
  const done = await run(process.execPath, [main, ...args], { env }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
  return { status: done.code, text: done.stdout + done.stderr };
}

/** Each test starts half a dozen programs. */
const programsMs = 120_000;

describe("farshore site peer", { timeout: programsMs }, () => {
  it("adds one that says who it is, shows it with its VPG, and lists it offline", async () => {
    const added = await farshore("site", "peer", "add", "paris", "--url", peer.url, "--journal", "no");
    expect(added).toMatchObject({ status: 0, text: expect.stringContaining("calls itself berlin") });
    expect(await farshore("site", "peer", "add", "paris", "--url", peer.url, "--journal", "no")).toMatchObject({
      status: 0,
    });
    expect((await farshore("vpg", "show", "shop")).text).toMatch(
      /Peer: .*reachability unknown; no reverse protection: peer paris has no journal/,
    );
    for (const where of [[], ["--offline", own.dataDir]]) {
      expect((await farshore("site", "peer", "list", ...where)).text).toMatch(/^paris +\w{26} +no +http/m);
    }
  });

  it("asks it only when it is told to", async () => {
    expect((await farshore("site", "peer", "show", "paris")).text).toMatch(/Reachable: unknown\n/);
    expect((await farshore("site", "peer", "show", "paris", "--check")).text).toMatch(/Reachable: yes: version /);
    expect((await farshore("status")).text).toMatch(/^paris .* unknown$/m);
    expect((await farshore("status", "--peers")).text).toMatch(/^paris .* yes: version /m);
  });

  it("refuses another URL, a silent one without --unchecked, and to forget a VPG's protected site", async () => {
    const silent = "http://127.0.0.1:1";
    expect(await farshore("site", "peer", "add", "lyon", "--url", silent)).toMatchObject({
      status: 1,
      text: expect.stringContaining("--unchecked"),
    });
    expect((await farshore("site", "peer", "add", "lyon", "--url", silent, "--unchecked")).status).toBe(0);
    expect(await farshore("site", "peer", "show", "lyon", "--check")).toMatchObject({
      status: 1,
      text: expect.stringMatching(/Reachable: no: no answer/),
    });
    expect(await farshore("site", "peer", "add", "paris", "--url", silent, "--unchecked")).toMatchObject({
      status: 2,
      text: expect.stringContaining(`is at ${peer.url}`),
    });
    expect(await farshore("site", "peer", "remove", "paris")).toMatchObject({
      status: 2,
      text: expect.stringContaining("protected site of shop"),
    });
    expect((await farshore("site", "peer", "remove", "lyon")).status).toBe(0);
    expect((await farshore("site", "peer", "list")).text).not.toContain("lyon");
  });

  it("refuses this very site", async () => {
    const args = ["site", "peer", "add", "self", "--url", own.url, "--peer-token", own.tokens.viewer];
    expect(await farshore(...args)).toMatchObject({ status: 2, text: expect.stringContaining("this very site") });
  });
});
