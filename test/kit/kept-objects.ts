import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { sha256 } from "#core/journal/hash.ts";

/** Every file below a folder with the hash of its bytes: what was stored, told apart from what was not. */
export function keptFiles(folder: string): ReadonlyMap<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => statSync(path).isFile())
    .sort();
  return new Map(
    files.map((path) => [relative(folder, path), Buffer.from(sha256(readFileSync(path))).toString("hex")]),
  );
}
