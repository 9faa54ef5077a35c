/** Other people's programs that a test needs. A missing one is a skip that says how to enable it, never a silent pass. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
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
