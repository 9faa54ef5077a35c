import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SiteStage } from "../../test/kit/served-site.ts";

const run = promisify(execFile);
const main = new URL("../main.ts", import.meta.url).pathname;

let site: SiteStage;
beforeAll(async () => {
  site = await SiteStage.start({ volumes: [{ name: "data", sizeBytes: 65_536 }], checkpointIntervalMs: 1000 });
});
afterAll(async () => {
  await site.close();
  site.remove();
});

/** The exit status and all that was printed. */
async function farshore(...args: readonly string[]): Promise<{ status: number; text: string }> {
  const env = { ...process.env, FARSHORE_SITE: site.url, FARSHORE_TOKEN: site.tokens.operator };
  const done = await run(process.execPath, [main, ...args], { env }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
  return { status: done.code, text: done.stdout + done.stderr };
}

/** Each test starts several programs. */
const programsMs = 120_000;

describe("definitions as files", { timeout: programsMs }, () => {
  it("are exported, edited, and imported where they are missing", async () => {
    const folder = join(site.directory, "definitions");
    const file = join(folder, "shop.toml");
    expect(await farshore("vpg", "export", "--all", "--output", folder)).toMatchObject({ status: 0 });
    const exported = readFileSync(file, "utf8");
    expect((await farshore("vpg", "export", "shop")).text.trim()).toBe(exported.trim());
    expect(JSON.parse((await farshore("--json", "vpg", "export", "shop")).text)).toMatchObject({ name: "shop" });

    writeFileSync(file, exported.replace('"64KiB"', '"128KiB"').replace('target_rpo = "15s"', 'target_rpo = "20s"'));
    const grows = "volume db/data: grows from 64.0 KiB to 128.0 KiB";
    const planned = await farshore("vpg", "edit", "shop", file, "--dry-run");
    expect(planned).toMatchObject({ status: 0, text: expect.stringContaining(grows) });
    expect(await farshore("vpg", "edit", "shop", file)).toMatchObject({ text: expect.stringContaining("add --yes") });
    expect((await site.vpg()).vms[0]?.volumes[0]?.sizeBytes).toBe(65_536);
    const edited = await farshore("vpg", "edit", "shop", file, "--yes");
    expect(edited).toMatchObject({ status: 0, text: expect.stringContaining("shop is revision 2 now") });
    expect(edited.text).toContain("targetRpoMs: 15.0 s becomes 20.0 s");

    writeFileSync(file, exported);
    const over = await farshore("vpg", "export", "shop", "--output", folder);
    expect(over).toMatchObject({ status: 2, text: expect.stringContaining("says something else") });
    expect(readFileSync(file, "utf8")).toBe(exported);
    writeFileSync(
      join(folder, "bill.toml"),
      exported.replace('name = "shop"', 'name = "bill"').replace(/depends_on = .*/, 'depends_on = ["till"]'),
    );
    const till = exported.replace('name = "shop"', 'name = "till"');
    writeFileSync(join(folder, "till.toml"), till.replace('"berlin-gw"', '"none-gw"').replace('"64KiB"', '"1000B"'));
    const refused = await farshore("vpg", "import", folder, "--create");
    expect(refused.text).toMatch(
      /till: problem\n.*1000 bytes are not whole sectors.*\n.*no gateway "none-gw".*\nbill: missing\nshop: differs\n.*can't shrink/,
    );
    expect(refused).toMatchObject({ status: 2, text: expect.stringContaining("nothing was created") });

    writeFileSync(join(folder, "till.toml"), till);
    expect((await farshore("vpg", "import", folder)).text).toMatch(/till: missing\nbill: missing/);
    expect((await farshore("vpg", "import", folder, "--create")).text).toMatch(/till: created\nbill: created/);
    expect((await farshore("vpg", "import", folder)).text).toMatch(/till: same\nbill: same/);
  });
});
