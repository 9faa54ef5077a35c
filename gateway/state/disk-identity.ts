import { readFile, stat } from "node:fs/promises";
import { errorCode } from "#adapters/embedded/file-errors.ts";
import { sysfsOfDevice } from "../disk/device-size.ts";
import type { DiskIdentity, KnownDisk } from "./source-state.ts";

/** Where Linux tells one boot from the next. */
const bootIdFile = "/proc/sys/kernel/random/boot_id";

const blockPrefix = "block ";
const filePrefix = "file ";

/** Fields of a block device's `stat` (kernel: Documentation/block/stat): writes and their sectors, discards and theirs. */
const writeFields = [4, 6, 11, 13] as const;

/** What a disk's backing is, to tell whether it is the one, and as, the last life left it. Taken after a flush. */
export async function identifyDisk(disk: {
  readonly vmName: string;
  readonly name: string;
  readonly path: string;
  readonly sizeBytes: number;
}): Promise<DiskIdentity> {
  const facts = await stat(disk.path, { bigint: true });
  const block = facts.isBlockDevice();
  return {
    vmName: disk.vmName,
    name: disk.name,
    path: disk.path,
    sizeBytes: disk.sizeBytes,
    identity: block ? `${blockPrefix}${facts.rdev}` : `${filePrefix}${facts.dev} ${facts.ino}`,
    // Anybody may set a file's mtime; nobody its ctime.
    modifiedAt: block
      ? await blockWrites(sysfsOfDevice(Number(facts.rdev)), bootIdFile)
      : `${facts.mtimeNs} ${facts.ctimeNs}`,
  };
}

/**
 * A block device keeps no time of its last write, but the kernel counts its writes since the boot: the same boot and counts
 * mean an untouched disk. Empty where nobody counts: not Linux, or switched off. What writes past the device is not seen: the
 * file of a loop device, the whole disk under a partition.
 */
export async function blockWrites(sysfsFolder: string, bootId: string): Promise<string> {
  // A partition has its disk's queue; the path is left as it is, since the folder is a symbolic link.
  const counting = (await text(`${sysfsFolder}/queue/iostats`)) ?? (await text(`${sysfsFolder}/../queue/iostats`));
  const counts = (await text(`${sysfsFolder}/stat`))?.split(/\s+/);
  const boot = await text(bootId);
  if (counting !== "1" || counts === undefined || boot === undefined) return "";
  return [boot, ...writeFields.map((field) => counts[field] ?? "0")].join(" ");
}

/** Of a small file, trimmed; undefined when there is none. */
async function text(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** True when these are the same disks, in the same order, untouched since; never where that can't be known. */
export function sameDisks(left: readonly DiskIdentity[], right: readonly DiskIdentity[]): boolean {
  const facts = (disks: readonly DiskIdentity[]): string =>
    JSON.stringify(
      disks.map((disk) => [disk.vmName, disk.name, disk.path, disk.sizeBytes, disk.identity, disk.modifiedAt]),
    );
  return left.every((disk) => disk.modifiedAt !== "") && facts(left) === facts(right);
}

/** True of one file under two paths whose bytes are as they were: names may have come and gone, which its ctime alone tells of. */
export function renamedOnly(before: DiskIdentity | undefined, after: DiskIdentity): boolean {
  const changedAt = (disk: DiskIdentity | undefined): string | undefined => disk?.modifiedAt.split(" ")[0];
  const isFile = after.identity.startsWith(filePrefix);
  return isFile && before?.identity === after.identity && changedAt(before) === changedAt(after);
}

/** The disks behind paths, to be known again by `findAgain`. */
export function knowDisks(identify: typeof identifyDisk, paths: readonly string[]): Promise<KnownDisk[]> {
  return Promise.all(
    paths.map(async (path) => {
      try {
        return { path, identity: (await identify({ vmName: "", name: "", path, sizeBytes: 0 })).identity };
      } catch (error) {
        if (errorCode(error) === undefined) throw error;
        return { path, identity: null };
      }
    }),
  );
}

/**
 * Of the disks, one that is among those known from before: by its path, by what that path leads to now (another spelling, a link), or by
 * what it was then (moved since). Device numbers are given out anew with each boot, so one of then counts only while its path leads nowhere.
 */
export async function findAgain(
  identify: typeof identifyDisk,
  before: readonly KnownDisk[],
  disks: readonly KnownDisk[],
): Promise<KnownDisk | undefined> {
  const paths = new Set(before.map(({ path }) => path));
  const now = await knowDisks(identify, [...paths]);
  const gone = new Set(now.flatMap(({ path, identity }) => (identity === null ? path : [])));
  const then = before.filter(({ path, identity }) => gone.has(path) || identity?.startsWith(blockPrefix) === false);
  const identities = new Set([...now, ...then].map(({ identity }) => identity));
  return disks.find(({ path, identity }) => paths.has(path) || (identity !== null && identities.has(identity)));
}
