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

/** SQLite's result codes when the lock file can't be made or written (sqlite.org/rescode.html). */
const sqliteCannot: readonly unknown[] = [8, 14];

interface Lockable {
  /** Nothing else may open it: closing any descriptor of it would drop this process's lock. */
  readonly lockFile: string;
  /** Names the holder for people; it is not the lock. */
  readonly holderFile: string;
  readonly what: string;
  readonly kind: "directory" | "disk";
}

/**
 * Takes the directory, made if absent, for this process alone, or throws `DirectoryInUse` with the holder's pid and purpose.
 * The lock is the kernel's (SQLite's file lock on `<dir>/lock`), so it ends with the process even by SIGKILL, and no stale file
 * can hold it.
 */
export function acquireLock(directory: string, purpose: string): ProcessLock {
  makeFolders(directory, 0o700);
  const [lockFile, holderFile] = [join(directory, "lock"), join(directory, "lock.json")];
  try {
    return take({ lockFile, holderFile, what: directory, kind: "directory" }, purpose);
  } catch (error) {
    throw sqliteTrouble(error);
  }
}

/**
 * The same for a file, by `<file>.lock` beside it, which stays: who removed it would free a lock that another holds. Undefined
 * when it can't be made there.
 */
export function acquireFileLock(file: string, purpose: string): ProcessLock | undefined {
  try {
    return take({ lockFile: `${file}.lock`, holderFile: `${file}.lock.json`, what: file, kind: "disk" }, purpose);
  } catch (error) {
    if (error instanceof Error && "errcode" in error && sqliteCannot.includes(error.errcode)) return undefined;
    throw sqliteTrouble(error);
  }
}

function take(lockable: Lockable, purpose: string): ProcessLock {
  const { lockFile, holderFile } = lockable;
  const database = new DatabaseSync(lockFile, { timeout: 0 });
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;");
  } catch (error) {
    database.close();
    if (error instanceof Error && "errcode" in error && error.errcode === sqliteBusy) throw inUse(lockable);
    throw error;
  }
  writeFileSync(holderFile, `${JSON.stringify({ pid: process.pid, purpose })}\n`);
  held.add(database);
  return {
    release() {
      if (!held.delete(database)) return;
      rmSync(holderFile, { force: true });
      database.close();
    },
  };
}

function inUse({ holderFile, what, kind }: Lockable): DirectoryInUse {
  const { pid, purpose } = readHolder(holderFile);
  return new DirectoryInUse(
    `${what} is in use by ${purpose} (process ${pid}): stop that one, or use another ${kind}.`,
    { path: what, pid, purpose },
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
