import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const script = new URL("./require-node.mjs", import.meta.url).href;

/** Runs the check in a Node that says it is another version. */
async function runAs(version: string): Promise<{ code: number; stderr: string }> {
  const pretend = `Object.defineProperty(process, "versions", { value: { node: "${version}" } }); await import("${script}");`;
  try {
    const { stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", pretend]);
    return { code: 0, stderr };
  } catch (error) {
    if (!(error instanceof Error && "code" in error && "stderr" in error)) throw error;
    return { code: Number(error.code), stderr: String(error.stderr) };
  }
}

describe("require-node", () => {
  it.each(["22.18.0", "22.22.1", "24.0.0", "26.3.1"])("lets Node %s pass without a word", async (version) => {
    expect(await runAs(version)).toEqual({ code: 0, stderr: "" });
  });

  it.each(["18.20.0", "20.19.5", "22.17.1", "23.11.0"])("ends Node %s in one line with the cure", async (version) => {
    const { code, stderr } = await runAs(version);
    expect(code).toBe(1);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr).toContain(`this is ${version}: run "npm ci"`);
  });
});
