import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { opendir, readFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * A disk image of `bytes` whose first half is the files of /usr one after the other, as a system disk holds them
 * (programs, libraries, text: some compress to a third, some not at all), and whose second half is a hole. Returns its path.
 */
export async function makeMixedDisk(path: string, bytes: number): Promise<string> {
  const fd = openSync(path, "w");
  try {
    let at = 0;
    for await (const file of filesUnder("/usr")) {
      const content = await readFile(file).catch(() => Buffer.alloc(0));
      at += writeSync(fd, content, 0, Math.min(content.length, bytes / 2 - at), at);
      if (at === bytes / 2) break;
    }
    if (at < bytes / 2) throw new Error(`/usr has only ${at} bytes to make a disk of; ${bytes / 2} are wanted`);
    ftruncateSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
  return path;
}

/** Regular files, in the order of the folders. */
async function* filesUnder(folder: string): AsyncGenerator<string> {
  for await (const entry of await opendir(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesUnder(path);
    else if (entry.isFile()) yield path;
  }
}
