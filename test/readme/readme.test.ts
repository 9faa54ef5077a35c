import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";

const root = new URL("../..", import.meta.url).pathname;
const readme = readFileSync(join(root, "README.md"), "utf8");

/** Figures and ids differ from run to run; the sentences may not. */
const shape = (text: string): readonly string[] =>
  text
    .trim()
    .split("\n")
    .map((line) =>
      line
        .replaceAll(/\b[0-9a-hjkmnp-tv-z]{26}\b/g, "#")
        .replaceAll(/\d+(\.\d+)?/g, "#")
        .replaceAll(/# ?(ms|s|B|KiB|MiB|GiB)\b/g, "#")
        .replaceAll(/#m #/g, "#")
        .replaceAll(/\s+/g, " ")
        .trim(),
    );

describe("README", () => {
  let output = "";
  beforeAll(() => {
    output = execFileSync(process.execPath, [join(root, "scripts/demo/main.ts")], { encoding: "utf8" });
  }, 180_000);

  it("shows the figures and proofs that the demo prints", () => {
    const shown = /<!-- demo -->\n```\n([\s\S]*?)```\n<!-- \/demo -->/.exec(readme)?.[1] ?? "";
    expect(shape(output).join("\n")).toContain(shape(shown).join("\n"));
    expect(shown).toContain("Proved:");
  });

  it("says how it is used, and that works as it stands", async () => {
    const block = /## Use it[\s\S]*?```sh\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
    const [define, ...commands] = block.trimEnd().split("\n");
    expect(define).toMatch(/^farshore\(\)/);
    const folder = mkdtempSync(join(tmpdir(), "fs-readme-"));
    // A program and no function, so that the shell's jobs are the processes themselves and end with it.
    writeFileSync(join(folder, "farshore"), `#!/bin/sh\nexec ${process.execPath} ${join(root, "cli/main.ts")} "$@"\n`, {
      mode: 0o755,
    });
    const script = ["set -e", "trap 'kill $(jobs -p); wait' EXIT", `PATH=${folder}:$PATH`, ...commands].join("\n");
    try {
      const { stdout } = await promisify(execFile)("bash", ["-c", script], { cwd: folder, timeout: 120_000 });
      expect(stdout).toMatch(/nbd\+unix:\/\/\/shop\/db\/data\?socket=/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("links only to what is there", () => {
    const links = [...readme.matchAll(/\]\(([^)#]+)[^)]*\)/g)].map((match) => match[1] ?? "");
    expect(links.filter((link) => !link.startsWith("http") && !existsSync(join(root, link)))).toEqual([]);
  });

  it("names only npm scripts that exist", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const named = [...readme.matchAll(/npm run ([a-z:]+)/g)].map((match) => match[1] ?? "");
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  it("has the two sentences, the commands and the demo on its first screen", () => {
    expect(readme.slice(0, readme.indexOf("<!-- /demo -->")).split("\n").length).toBeLessThan(40);
  });
});
