import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository as the house tests see it: its own files, not what was installed, built or measured. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

const ignored = new Set(["node_modules", ".git", "dist", ".cache", "golden", "cdk.out"]);

function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (ignored.has(entry.name) || entry.name.startsWith(".vitest-")) return [];
    const path = posix.join(folder, entry.name);
    return entry.isDirectory() ? walk(path) : [path];
  });
}

/** Every file's path from the root, sorted. */
export const files: readonly string[] = walk("").sort();

export const sources: readonly string[] = files.filter((path) => /\.(ts|mts|mjs|js)$/.test(path));

export function isTest(path: string): boolean {
  return path.startsWith("test/") || /\.(test|bench)\.ts$/.test(path);
}

export function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** The first segment of a path: the area that the import walls stand between. */
export function areaOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : "";
}

const specifier = /(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g;

export interface Import {
  readonly specifier: string;
  /** The imported file's path from the root; undefined for packages and Node's own modules. */
  readonly path: string | undefined;
}

/** What a source imports, statically or by `import()`. */
export function importsOf(path: string, code: string = read(path)): Import[] {
  return [...code.matchAll(specifier)].map(([, name = ""]) => ({ specifier: name, path: resolve(path, name) }));
}

function resolve(importer: string, name: string): string | undefined {
  if (name.startsWith("#")) return name.slice(1);
  return name.startsWith(".") ? posix.join(posix.dirname(importer), name) : undefined;
}

/** Sources that these ones load, directly or by others, themselves included. */
export function loadedBy(paths: readonly string[]): ReadonlySet<string> {
  const known = new Set(sources);
  const loaded = new Set<string>();
  const visit = (path: string): void => {
    if (loaded.has(path) || !known.has(path)) return;
    loaded.add(path);
    for (const { path: target } of importsOf(path)) if (target !== undefined) visit(target);
  };
  for (const path of paths) visit(path);
  return loaded;
}

/** The code without comments and string contents, so that a rule about calls doesn't trip over prose. */
export function codeOnly(code: string): string {
  return code.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, (match) =>
    match.startsWith("/") ? "" : '""',
  );
}
