import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { version } from "#core/version.ts";
import { readDisk, writeDisk } from "../kit/disk-client.ts";

const root = new URL("../..", import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), "farshore-package-"));
const run = (command: string, args: readonly string[], cwd: string) =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

beforeAll(() => {
  run("npm", ["pack", "--pack-destination", directory], root);
  const packed = readdirSync(directory).find((name) => name.endsWith(".tgz"));
  run(
    "npm",
    ["install", "--no-audit", "--no-fund", "--prefix", directory, join(directory, packed ?? "absent")],
    directory,
  );
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("the published package, installed into an empty folder", () => {
  const farshore = (...args: string[]) => run(join(directory, "node_modules/.bin/farshore"), args, directory);

  it("says its version and helps", () => {
    expect(farshore("--version").trim()).toBe(version);
    expect(farshore("failover", "live", "--help")).toContain("--commit-policy");
  });

  it("writes the example files", () => {
    farshore("init", "examples");
    expect(readdirSync(join(directory, "examples")).sort()).toEqual([
      "recovery-gateway.toml",
      "source-gateway.toml",
      "vpg.toml",
    ]);
  });

  it("protects a disk, fails over and commits, workers and state machines included", async () => {
    process.env["FARSHORE_PROGRAM"] = join(directory, "node_modules/farshore/dist/farshore.mjs");
    const { cleanUpStages, settled, wholeStage } = await import("../kit/whole-stage.ts");
    cleanUpStages(onTestFinished);
    const stage = await wholeStage({ volumes: [{ name: "data", bytes: 2 ** 22 }], checkpointInterval: "1s" });
    await writeDisk(stage.sourceUris[0] ?? "", "written to the installed program");
    await settled(stage);
    const live = await stage.operate("failover", "live", "shop", "--wait");
    expect(await readDisk(Object.values(live.exports)[0] ?? "")).toEqual(
      Buffer.alloc(4096, "written to the installed program"),
    );
    expect((await stage.operate("failover", "commit", "shop")).phase).toBe("Completed");
  });

  it("brings no other package along", () => {
    expect(readdirSync(join(directory, "node_modules")).filter((name) => !name.startsWith("."))).toEqual(["farshore"]);
  });
});
