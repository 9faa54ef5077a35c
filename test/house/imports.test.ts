import { describe, expect, it } from "vitest";
import { areaOf, files, importsOf, isTest, loadedBy, read, sources } from "./sources.ts";

/** What each area may import from; what isn't named here may import nothing of ours. `core <- adapters <- the rest`. */
const walls: Readonly<Record<string, readonly string[]>> = {
  core: ["core"],
  adapters: ["core", "adapters"],
  functions: ["core", "adapters", "functions"],
  gateway: ["core", "adapters", "gateway"],
  // `site serve` runs the handlers and the documents in its own process; nobody else may.
  cli: ["core", "adapters", "functions", "workflows", "gateway", "cli"],
  // Names files of functions/ and workflows/ by path only; shares the command line's reader of TOML files.
  infra: ["core", "adapters", "cli", "infra"],
  scripts: ["core", "adapters", "gateway", "cli", "scripts"],
  bench: ["core", "adapters", "functions", "gateway", "cli", "infra", "scripts", "bench"],
};

/** Packages that core may use: they compute and do nothing else. */
const corePackages = ["node:assert", "node:buffer", "node:crypto", "node:zlib", "ulid", "zod"];

/** The sentence for each import that breaks a wall. */
function brokenWalls(path: string, code?: string): string[] {
  const area = areaOf(path);
  if (isTest(path) || area === "") return [];
  const allowed = walls[area] ?? [];
  return importsOf(path, code).flatMap(({ specifier, path: target }) => {
    if (target !== undefined)
      return allowed.includes(areaOf(target)) ? [] : [`${path}: ${area}/ may not import ${target}`];
    return area === "core" && !corePackages.includes(specifier) ? [`${path}: core/ may not import ${specifier}`] : [];
  });
}

describe("house: import walls", () => {
  it("hold in every source", () => {
    expect(sources.flatMap((path) => brokenWalls(path))).toEqual([]);
  });

  it("are seen by this test when broken", () => {
    const broken: [string, string][] = [
      ["core/x/y.ts", 'import { a } from "#adapters/embedded/objects.ts";'],
      ["core/x/y.ts", 'import { a } from "../../adapters/embedded/objects.ts";'],
      ["core/x/y.ts", 'import "node:fs";'],
      ["core/x/y.ts", 'const a = await import("node:http");'],
      ["core/x/y.ts", 'export { a } from "vitest";'],
      ["adapters/x.ts", 'import type { A } from "../gateway/main.ts";'],
      ["gateway/x.ts", 'import { a } from "../functions/ingest-batch/handler.ts";'],
      ["functions/x.ts", 'import { a } from "../infra/app.ts";'],
      ["cli/x.ts", 'import {\n  a,\n  b,\n} from "../test/kit/x.ts";'],
      ["cli/x.ts", 'import { a } from "../bench/x.ts";'],
      ["workflows/x.ts", 'import { a } from "#core/ports.ts";'],
    ];
    for (const [path, code] of broken) expect(brokenWalls(path, code), code).toHaveLength(1);
    expect(brokenWalls("cli/x.ts", 'import { a } from "../functions/x.ts";\nimport { b } from "#core/y.ts";')).toEqual(
      [],
    );
  });

  it("lead to files that exist", () => {
    const known = new Set(files);
    const missing = sources.flatMap((path) =>
      importsOf(path).flatMap(({ path: target }) =>
        target === undefined || known.has(target) ? [] : [`${path}: ${target}`],
      ),
    );
    expect(missing.filter((line) => !line.startsWith("test/house/imports.test.ts"))).toEqual([]);
  });

  it("keep the deploy suite a customer: nothing that it loads is of functions/ or adapters/", () => {
    const loaded = loadedBy(sources.filter((path) => path.startsWith("test/deploy/")));
    expect(loaded.size).toBeGreaterThan(10);
    const walled = [...loaded].filter((path) => ["functions", "adapters"].includes(areaOf(path)));
    // The numbers that guests draw; nothing of a site.
    expect(walled.filter((path) => path !== "adapters/faulty/seeded-random.ts")).toEqual([]);
  });

  it("are not passed by barrels", () => {
    expect(files.filter((path) => /(^|\/)index\.[a-z]+$/.test(path))).toEqual([]);
    const passing = sources.filter((path) => !isTest(path) && /^export (\*|\{[^}]*\}) from/m.test(read(path)));
    expect(passing).toEqual([]);
  });
});
