import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { z } from "zod";

function check(...options: readonly string[]) {
  const main = new URL("../main.ts", import.meta.url).pathname;
  return spawnSync(process.execPath, [main, "--json", ...options], { encoding: "utf8" });
}

describe("farshore site check", () => {
  it("tells an embedded site's free space and open files", () => {
    const { stdout } = check("site", "check", "--data", tmpdir());
    const reply = z.object({ freeBytes: z.int().positive(), openFiles: z.int().nullable() }).parse(JSON.parse(stdout));
    if (process.platform === "linux") expect(reply.openFiles).toBeGreaterThan(0);
  });

  it("says where to run it for an embedded site, and refuses a directory that isn't there", () => {
    expect(check("site", "check").stderr).toContain("with --data <dir>");
    expect(check("site", "check", "--data", "/nowhere").stderr).toContain("--data /nowhere");
  });
});
