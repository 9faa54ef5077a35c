import { describe, expect, it } from "vitest";
import { z } from "zod";
import { files, read } from "./sources.ts";

const manifest = z.object({ scripts: z.record(z.string(), z.string()) }).parse(JSON.parse(read("package.json")));
const scripts = Object.entries(manifest.scripts);

describe("house: npm scripts", () => {
  it("check the version of Node before they run TypeScript", () => {
    const bare = scripts.filter(([, command]) => /\bnode \S+\.ts\b/.test(command));
    expect(bare.length).toBeGreaterThan(0);
    for (const [name, command] of bare) expect(command, name).toMatch(/^node scripts\/require-node\.mjs && /);
  });

  it("name files that exist", () => {
    const named = scripts.flatMap(([, command]) => command.match(/\b[a-z][\w-]*\/[\w/.-]+\.(ts|mjs|sh)\b/g) ?? []);
    expect(named.filter((path) => !files.includes(path))).toEqual([]);
  });
});
