import * as fs from "node:fs";
import { realpath } from "node:fs/promises";
import path from "node:path";
import { InvalidInput } from "#core/errors.ts";
import { FileDevice } from "../disk/file-device.ts";

/**
 * Opens a copy of a disk read-only. The path comes over the wire: with every link followed it must lie in the folder. Throws
 * `InvalidInput`.
 */
export async function openCopy(directory: string, asked: string, sectorBytes: 512 | 4096): Promise<FileDevice> {
  const refused = (): InvalidInput =>
    new InvalidInput(`${asked} is not in ${directory}, the folder that [recovery] preseed names`, { field: "path" });
  const folder = await real(directory);
  // Before anything is asked of the file system, so that the answer tells nothing of what lies elsewhere.
  if (asked.includes("\0") || !within(path.resolve(directory), path.resolve(directory, asked))) throw refused();
  const found = await real(path.resolve(directory, asked));
  if (!within(folder, found)) throw refused();
  return openFound(folder, found, sectorBytes);
}

/**
 * Opens what was found in the folder, whatever stands under its name by now: what counts is where the file lies that was really
 * opened. Nothing is waited for, as the open of a FIFO would. Throws `InvalidInput`.
 */
export function openFound(folder: string, found: string, sectorBytes: 512 | 4096): FileDevice {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const fd = orRefused(found, () => fs.openSync(found, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  try {
    if (orRefused(found, () => liesIn(folder, found, fd))) return FileDevice.adopt(found, fd, { sectorBytes });
    throw new InvalidInput(`${found} was replaced while it was opened`, { field: "path" });
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/** Linux says where an open file lies. Elsewhere the name is resolved again, and must be that very file. */
function liesIn(folder: string, found: string, fd: number): boolean {
  if (process.platform === "linux") return within(folder, fs.readlinkSync(`/proc/self/fd/${fd}`));
  const again = fs.realpathSync(found);
  const [opened, named] = [fs.fstatSync(fd), fs.lstatSync(again)];
  return within(folder, again) && opened.dev === named.dev && opened.ino === named.ino;
}

async function real(place: string): Promise<string> {
  try {
    return await realpath(place);
  } catch (cause) {
    throw unreadable(place, cause);
  }
}

function orRefused<Result>(place: string, act: () => Result): Result {
  try {
    return act();
  } catch (cause) {
    throw unreadable(place, cause);
  }
}

function unreadable(place: string, cause: unknown): InvalidInput {
  const why = cause instanceof Error && "code" in cause ? String(cause.code) : "unreadable";
  return new InvalidInput(`${place} can't be opened (${why})`, { field: "path" }, { cause });
}

function within(folder: string, file: string): boolean {
  const relative = path.relative(folder, file);
  return relative !== "" && relative !== ".." && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
}
