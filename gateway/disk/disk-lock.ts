import { realpathSync, statSync } from "node:fs";
import { acquireFileLock, type ProcessLock } from "#adapters/embedded/process-lock.ts";

/** Nothing to give back: the lock goes with the disk's own descriptor. */
const byDescriptor: ProcessLock = { release: () => undefined };

/**
 * Takes a source disk for this process, so that no second gateway serves it, whatever its state directory: two would write it
 * under two sessions, and neither's journal would have it all. A file has a lock file beside it, `<disk>.lock`, under the name
 * that its links lead to (a second hard link is another name). Linux refuses to open a block device twice with O_EXCL, as
 * `FileDevice` does; other systems have nothing like it. Undefined where nothing keeps a second one out: there, or where no
 * lock file can be made. Throws `DirectoryInUse`.
 */
export function lockDisk(path: string, platform: NodeJS.Platform = process.platform): ProcessLock | undefined {
  if (statSync(path).isBlockDevice()) return platform === "linux" ? byDescriptor : undefined;
  return acquireFileLock(realpathSync(path), "farshore gateway");
}
