import { readdir, stat } from "node:fs/promises";
import { errorCode } from "./file-errors.ts";
import { cachedNamesMax, folderStillMs } from "./limits.ts";

/** Names in a folder, sorted as keys are: a folder's name ends in `/`, which decides its place among files. */
export type FolderNames = readonly string[];

/**
 * Sorted listings of folders, so that paging through 100,000 files reads the folder once and not once a page. A listing
 * is kept only if the folder had been still before it was read, and used only while the folder's mtime is the same;
 * so a change by any process is always seen.
 */
export class FolderListings {
  readonly #cache = new Map<string, { readonly mtime: bigint; readonly names: FolderNames }>();
  #cached = 0;

  /** The sorted names; empty when there is no such folder. Other errors are the file system's. */
  async names(folder: string): Promise<FolderNames> {
    let mtime: bigint;
    try {
      mtime = (await stat(folder, { bigint: true })).mtimeNs;
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
    const cached = this.#cache.get(folder);
    if (cached?.mtime === mtime) return cached.names;
    if (cached !== undefined) this.#forget(folder, cached.names.length);
    // Judged before the read: a folder that changed within the clock's grain could change again under the same mtime.
    const still = BigInt(Date.now()) - mtime / 1_000_000n > BigInt(folderStillMs);
    const names = await readNames(folder);
    if (still && names.length <= cachedNamesMax) this.#keep(folder, mtime, names);
    return names;
  }

  #keep(folder: string, mtime: bigint, names: FolderNames): void {
    for (const [oldest, entry] of this.#cache) {
      if (this.#cached + names.length <= cachedNamesMax) break;
      this.#forget(oldest, entry.names.length);
    }
    const before = this.#cache.get(folder);
    if (before !== undefined) this.#forget(folder, before.names.length);
    this.#cache.set(folder, { mtime, names });
    this.#cached += names.length;
  }

  #forget(folder: string, count: number): void {
    this.#cache.delete(folder);
    this.#cached -= count;
  }
}

const nameOfKey = /^[a-z0-9._-]+\/?$/;

async function readNames(folder: string): Promise<FolderNames> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name));
    // What isn't part of any key (`lost+found`, `.DS_Store`) is not ours.
    return names.filter((name) => nameOfKey.test(name)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/** The place of the first name that isn't before `name`. */
export function placeOf(names: FolderNames, name: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((names[middle] ?? "") < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
