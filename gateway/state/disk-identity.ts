import { stat } from "node:fs/promises";
import type { DiskIdentity } from "./source-state.ts";

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
    identity: block ? `block ${facts.rdev}` : `file ${facts.dev} ${facts.ino}`,
    modifiedAt: block ? "0" : String(facts.mtimeNs),
  };
}

/** True when these are the same disks, in the same order, untouched since. */
export function sameDisks(left: readonly DiskIdentity[], right: readonly DiskIdentity[]): boolean {
  const text = (disks: readonly DiskIdentity[]): string =>
    JSON.stringify(
      disks.map((disk) => [disk.vmName, disk.name, disk.path, disk.sizeBytes, disk.identity, disk.modifiedAt]),
    );
  return text(left) === text(right);
}
