import { describe, expect, it } from "vitest";
import { z } from "zod";
import { read } from "./sources.ts";

/** npm drops other platforms' builds from a lock in some orders of commands (npm/cli#4828); then `npm ci` fails elsewhere. */
const lockSchema = z.object({
  packages: z.record(
    z.string(),
    z.object({
      optionalDependencies: z.record(z.string(), z.string()).optional(),
      integrity: z.string().optional(),
    }),
  ),
});

type Lock = z.infer<typeof lockSchema>;

const platforms = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];

/** A package with builds for platforms names several of them in its optional dependencies. */
function hasPlatformBuilds(names: readonly string[]): boolean {
  return names.filter((name) => /\b(linux|darwin|win32)\b.*\b(x64|arm64)\b/.test(name)).length > 1;
}

/** The lock's entry that Node finds from the place of `from`, as `require` climbs. */
function entryOf(lock: Lock, from: string, name: string): string | undefined {
  for (let place = from; ; place = place.slice(0, Math.max(0, place.lastIndexOf("node_modules/") - 1))) {
    const path = place === "" ? `node_modules/${name}` : `${place}/node_modules/${name}`;
    if (lock.packages[path] !== undefined) return path;
    if (place === "") return undefined;
  }
}

/** What `npm ci` would miss, and where. */
function missingBuilds(lock: Lock): string[] {
  return Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) => {
    const names = Object.keys(optionalDependencies);
    if (!hasPlatformBuilds(names)) return [];
    const lost = names
      .filter((name) => platforms.some((platform) => name.includes(platform)))
      .filter((name) => {
        const entry = lock.packages[entryOf(lock, path, name) ?? ""];
        return entry?.integrity === undefined;
      });
    const unbuilt = platforms.filter((platform) => !names.some((name) => name.includes(platform)));
    return [
      ...lost.map((name) => `${path}: ${name}`),
      ...unbuilt.map((platform) => `${path}: no build for ${platform}`),
    ];
  });
}

describe("house: package-lock.json", () => {
  const lock = lockSchema.parse(JSON.parse(read("package-lock.json")));
  const withBuilds = Object.entries(lock.packages).filter(([, entry]) =>
    hasPlatformBuilds(Object.keys(entry.optionalDependencies ?? {})),
  );

  it("knows the packages that come as builds for platforms", () => {
    const names = withBuilds.map(([path]) => path.replace(/^.*node_modules\//, ""));
    expect(names).toEqual(
      expect.arrayContaining(["@biomejs/biome", "esbuild", "lightningcss", "rolldown", "typescript"]),
    );
  });

  it("holds each one's build for Linux and macOS, x64 and arm64", () => {
    expect(missingBuilds(lock)).toEqual([]);
  });

  it("would be refused without one of them", () => {
    for (const [path, entry] of withBuilds) {
      const victim = Object.keys(entry.optionalDependencies ?? {}).find((name) => name.includes("darwin-arm64")) ?? "";
      const { [entryOf(lock, path, victim) ?? ""]: _, ...packages } = lock.packages;
      expect(missingBuilds({ packages })).toContain(`${path}: ${victim}`);
    }
  });

  it("lets only node run an install script", () => {
    const allowed = z
      .object({ allowScripts: z.record(z.string(), z.boolean()) })
      .parse(JSON.parse(read("package.json")));
    expect(allowed.allowScripts).toEqual({ node: true });
  });
});
