import { link, lstat, open, rename, stat, unlink } from "node:fs/promises";
import { InvalidInput } from "#core/errors.ts";
import { errorCode } from "./file-errors.ts";
import { temporaryAgeMsMax } from "./limits.ts";

// The steps of R10 on one file. Errors are the file system's, but for the `InvalidInput` of a folder in an object's place.

/** For `catch`: what was to be removed may be gone already. */
export function ignoreMissing(error: unknown): void {
  if (errorCode(error) !== "ENOENT") throw error;
}

/** True when an object is there; a folder in its place is refused. */
export async function exists(path: string, key: string): Promise<boolean> {
  try {
    if ((await lstat(path)).isDirectory()) throw new InvalidInput(`The key ${key} is a folder of other keys.`, { key });
    return true;
  } catch (error) {
    ignoreMissing(error);
    return false;
  }
}

/** Names the file if nothing has that name, and gives up its temporary one. True when this call made the name. */
export async function claim(temporary: string, path: string, key: string): Promise<boolean> {
  const won = await linkOnce(temporary, path, key);
  await unlink(temporary);
  return won;
}

async function linkOnce(temporary: string, path: string, key: string): Promise<boolean> {
  for (;;) {
    try {
      await link(temporary, path);
      return true;
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
    }
    // Deleted between the two looks: the name is free again.
    if (await exists(path, key)) return false;
  }
}

/** Names the file, in the place of an object that had the name. */
export async function replace(temporary: string, path: string, key: string): Promise<void> {
  try {
    await rename(temporary, path);
  } catch (error) {
    await exists(path, key);
    throw error;
  }
}

/** Writes a new file and waits until its bytes are on stable storage. */
export async function writeWhole(path: string, body: Uint8Array): Promise<void> {
  const handle = await open(path, "wx", 0o640);
  try {
    for (let written = 0; written < body.length; ) {
      const { bytesWritten } = await handle.write(body, written, body.length - written, written);
      written += bytesWritten;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes a temporary file whose process is dead, or that is too old to be anyone's. */
export async function sweep(path: string): Promise<void> {
  const pid = Number.parseInt(path.slice(path.lastIndexOf("/") + 1), 10);
  try {
    const aged = Date.now() - (await stat(path)).mtimeMs > temporaryAgeMsMax;
    if (aged || !isAlive(pid)) await unlink(path);
  } catch (error) {
    ignoreMissing(error);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}
