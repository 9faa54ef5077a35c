import childProcess from "node:child_process";
import fs from "node:fs";
import promises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";

/**
 * After so many changes to the world (files opened, renamed, removed, written, synced, processes started) this process kills itself with
 * SIGKILL before the next one.
 */
export function killAfter(changes: number): void {
  let left = changes;
  const modules: readonly (readonly [object, readonly string[]])[] = [
    [promises, ["open", "mkdir", "rename", "rm"]],
    [fs, ["write", "writeSync", "fdatasync", "renameSync"]],
    [childProcess, ["spawn"]],
  ];
  for (const [module, names] of modules) {
    for (const name of names) {
      const original: unknown = Reflect.get(module, name);
      if (typeof original !== "function") throw new TypeError(`there is no ${name}`);
      Reflect.set(module, name, (...args: unknown[]) => {
        // Opened to be read: a folder to be synced, the bucket.
        if (!(name === "open" && args[1] === "r")) left -= 1;
        if (left < 0) process.kill(process.pid, "SIGKILL");
        return Reflect.apply(original, module, args);
      });
    }
  }
  // Named imports see the change too.
  syncBuiltinESMExports();
}
