import { open, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { makeFolders } from "#adapters/embedded/make-folders.ts";

/** Makes the names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a folder, and its name durable in its parent; parents that lack are made too. */
export async function makeFolderDurable(folder: string): Promise<void> {
  const first = makeFolders(folder);
  if (first === undefined) return;
  // Each folder that is new needs its name synced in the one above it.
  for (let made = folder; made.length >= first.length; made = path.dirname(made)) await syncFolder(path.dirname(made));
}

/** Replaces a small file whole: after a crash it has the old content or the new, and the new for sure once this resolved. */
export async function writeFileDurable(file: string, text: string): Promise<void> {
  const temporary = `${file}.new`;
  const handle = await open(temporary, "w");
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  await syncFolder(path.dirname(file));
}

/** Removes a file, durably. One that isn't there is fine. */
export async function removeFileDurable(file: string): Promise<void> {
  await rm(file, { force: true });
  await syncFolder(path.dirname(file));
}

/** The text of a file, undefined when there is none. */
export async function readFileIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
