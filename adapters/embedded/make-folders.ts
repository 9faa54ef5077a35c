import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { InvalidInput } from "#core/errors.ts";
import { errorCode, fileTrouble } from "./file-errors.ts";

const notAPlace: ReadonlySet<string | undefined> = new Set(["ENOENT", "ENOTDIR", "EEXIST", "ENAMETOOLONG"]);

/**
 * Makes a folder and the parents it lacks; answers the first that was made, undefined when all stood. Node's `recursive` never
 * returns below a folder that takes no names, such as /proc: it makes the parent again and again. Throws `InvalidInput` where
 * no folder can be.
 */
export function makeFolders(folder: string, mode = 0o777): string | undefined {
  try {
    return made(folder, mode);
  } catch (error) {
    if (!notAPlace.has(errorCode(error))) throw fileTrouble(error, `Directory ${folder}`);
    throw new InvalidInput(
      `no directory ${folder} can be made here (${errorCode(error)}); choose one on a disk`,
      { path: folder },
      { cause: error },
    );
  }
}

function made(folder: string, mode: number): string | undefined {
  const parent = dirname(folder);
  if (isFolder(folder)) return undefined;
  const first = parent === folder || isFolder(parent) ? undefined : made(parent, mode);
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    // Another process may have been quicker.
    if (!isFolder(folder)) throw error;
  }
  return first ?? folder;
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
