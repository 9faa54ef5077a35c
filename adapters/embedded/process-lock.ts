import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DirectoryInUse } from "#core/errors.ts";
import { errorCode } from "./file-errors.ts";
import { makeFolders } from "./make-folders.ts";
import { sqliteTrouble } from "./sqlite.ts";

export interface ProcessLock {
  /** Lets others have the directory; the end of the process does the same, however it comes. */
  release(): void;
}

/** Keeps the locks from the garbage collector, which would close the file of one whose caller dropped the handle. */
const held = new Set<DatabaseSync>();

/** SQLite's result code when another connection holds the lock (sqlite.org/rescode.html). */
const sqliteBusy = 5;

/**
 * Takes the directory, made if absent, for this process alone, or throws `DirectoryInUse` with the holder's pid and purpose. The lock is the
 * kernel's (SQLite's file lock on `<dir>/lock`), so it ends with the process even by SIGKILL, and no stale file can hold it.
 * Nothing else may open `lock`: closing any descriptor of it would drop this process's lock. `lock.json` beside it names
 * the holder for people; it is not the lock.
 */
export function acquireLock(directory: string, purpose: string): ProcessLock {
  makeFolders(directory, 0o700);
  const holderPath = join(directory, "lock.json");
  const database = new DatabaseSync(join(directory, "lock"), { timeout: 0 });
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;");
  } catch (error) {
    database.close();
    if (error instanceof Error && "errcode" in error && error.errcode === sqliteBusy)
      throw inUse(directory, holderPath);
    throw sqliteTrouble(error);
  }
  writeFileSync(holderPath, `${JSON.stringify({ pid: process.pid, purpose })}\n`);
  held.add(database);
  return {
    release() {
      if (!held.delete(database)) return;
      rmSync(holderPath, { force: true });
      database.close();
    },
  };
}

function inUse(directory: string, holderPath: string): DirectoryInUse {
  const holder = readHolder(holderPath);
  return new DirectoryInUse(
    `${directory} is in use by ${holder.purpose} (process ${holder.pid}): stop that one, or use another directory.`,
    { directory, pid: holder.pid, purpose: holder.purpose },
  );
}

/** The holder as it wrote itself down; between taking the lock and writing, its name isn't known yet. */
function readHolder(path: string): { readonly pid: number; readonly purpose: string } {
  try {
    const holder: { pid?: unknown; purpose?: unknown } = JSON.parse(readFileSync(path, "utf8"));
    return { pid: Number(holder.pid), purpose: String(holder.purpose) };
  } catch (error) {
    if (errorCode(error) !== "ENOENT" && !(error instanceof SyntaxError)) throw error;
    return { pid: 0, purpose: "another process" };
  }
}
