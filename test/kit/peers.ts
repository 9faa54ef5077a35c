/** Other people's programs that a test needs. A missing one is a skip that says how to enable it, never a silent pass. */
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestContext } from "vitest";

/** The path of a program in PATH or in the folders where Debian keeps root's tools, or undefined. */
export function findPeer(program: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder: look in the next one.
    }
  }
  return undefined;
}

/** The programs' paths in order; skips the test, with the cure, when one is missing. */
export function requirePeer(context: TestContext, ...programs: readonly string[]): readonly string[] {
  return programs.map((program) => {
    const path = findPeer(program);
    if (path === undefined) {
      return context.skip(`needs ${program}: npm run setup:peers`);
    }
    return path;
  });
}

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The Python of a peer that scripts/peers/NAME.txt lists, if it is installed as that file says today. */
export function findPythonPeer(name: string): string | undefined {
  const python = join(root, ".cache/peers", name, "bin/python");
  try {
    accessSync(python, constants.X_OK);
    const installed = readFileSync(join(root, ".cache/peers", name, "installed.txt"), "utf8");
    return installed === readFileSync(join(root, "scripts/peers", `${name}.txt`), "utf8") ? python : undefined;
  } catch {
    return undefined;
  }
}

/** The Python of a peer; skips the test, with the cure, when it isn't installed. */
export function requirePythonPeer(context: TestContext, name: string): string {
  return findPythonPeer(name) ?? context.skip(`needs ${name}: npm run setup:peers`);
}
