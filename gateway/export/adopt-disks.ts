/**
 * Gives the recovered disks that a VPG runs on after a failover or a move the paths that the gateway's configuration has for its
 * volumes (farshore gateway disks adopt). From then on they are those of the configuration: they can grow, and be named as one likes.
 */
import { link, rm, stat } from "node:fs/promises";
import path from "node:path";
import { errorCode, fileTrouble } from "#adapters/embedded/file-errors.ts";
import { InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Role } from "#core/protection/term.ts";
import type { SourceVpgConfig } from "../config.ts";
import { identifyDisk, renamedOnly, sameDisks } from "../state/disk-identity.ts";
import { type DiskIdentity, SourceState } from "../state/source-state.ts";
import type { StateStore } from "../state/state-directory.ts";
import { syncFolder } from "./durable-file.ts";
import { disksOf, type LocalDisks, leftBefore, localDisks, refused } from "./local-disks.ts";
import { foldersIn, moveToKept } from "./operation-folder.ts";

export interface AdoptionFacts {
  /** What the gateway's configuration says of a VPG of its own. */
  readonly configured: Pick<SourceVpgConfig, "name" | "volumes"> | undefined;
  /** What the site that the gateway replicates to is to the VPG, or that it was deleted there. */
  readonly roleOf: (vpgId: Id) => Promise<Role | "deleted">;
  /** The gateway's, which is stopped. */
  readonly state: StateStore;
}

interface AdoptedDisk {
  readonly vmName: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly from: string;
  readonly to: string;
}

export interface Adoption {
  readonly disks: LocalDisks;
  /** In the order of the configuration. */
  readonly moves: readonly AdoptedDisk[];
}

/**
 * Whether an operation's disks may become those of the configuration, and where each goes. Throws `NotFound` where the operation has
 * none, `InvalidInput` saying what is in the way. Nothing is changed yet.
 */
export async function adoptionOf(directory: string, operation: string, facts: AdoptionFacts): Promise<Adoption> {
  const all = await localDisks(directory);
  const disks = disksOf(all, operation);
  const { vpgId, vpgName, state } = disks;
  if (state !== "protected") throw refused(disks, notYet[state]);
  const older = leftBefore(all, disks);
  if (older !== undefined) throw refused(disks, older);
  const moves = movesTo(disks, facts.configured);
  const known = (await SourceState.load(facts.state, vpgName)).facts;
  if (known.closed !== null) {
    throw refused(disks, `were closed by operation ${known.closed.operationId}: the VMs may run elsewhere by now`);
  }
  if (known.vpgId !== vpgId || known.promotedBy !== disks.operationId) {
    throw refused(disks, "have had no session yet by this state directory: start the gateway with it first");
  }
  const role = await facts.roleOf(vpgId);
  if (role !== "Journal") {
    const why = role === "deleted" ? `${vpgName} was deleted there` : "reverse protection has to end first";
    throw refused(disks, `have no checkpoint at the site that the gateway replicates to: ${why}`);
  }
  for (const move of moves) await assertFree(move, directory);
  return { disks, moves };
}

const notYet: Readonly<Record<Exclude<LocalDisks["state"], "protected" | "kept">, string>> = {
  attached: "are recovered by an operation that is under way",
  promoted: "are not protected yet: farshore reverse-protection start",
  left: "are of an earlier cycle: newer ones followed",
};

function movesTo(disks: LocalDisks, configured: AdoptionFacts["configured"]): AdoptedDisk[] {
  const { vpgName, volumes } = disks;
  if (configured?.name !== vpgName) {
    throw refused(
      disks,
      `need their paths first: the configuration file names no vpg = "${vpgName}" with its volumes in [source]`,
    );
  }
  const nameOf = (volume: SourceVpgConfig["volumes"][number]): string => `${volume.vmName}/${volume.name}`;
  const lacking = volumes.find(({ name }) => !configured.volumes.some((each) => nameOf(each) === name));
  if (lacking !== undefined) throw refused(disks, `need a path each: add [[source.volume]] for ${lacking.name}`);
  return configured.volumes.map((volume) => {
    const disk = volumes.find(({ name }) => name === nameOf(volume));
    if (disk === undefined)
      throw refused(disks, `are all that the VPG has: take [[source.volume]] ${nameOf(volume)} out, and add it later`);
    const { vmName, name, path: to } = volume;
    return { vmName, name, sizeBytes: disk.sizeBytes, from: disk.path, to };
  });
}

async function assertFree({ from, to }: AdoptedDisk, directory: string): Promise<void> {
  if (await isThere({ from, to })) return;
  const [disk, folder] = await Promise.all([from, path.dirname(to)].map(statIfThere));
  if (folder?.isDirectory() !== true) throw new InvalidInput(`${path.dirname(to)} is no folder`, { path: to });
  if (folder.dev === disk?.dev) return;
  throw new InvalidInput(
    `${to} is on another file system than ${directory}: a disk is renamed and not copied; name a path on the same one`,
    { path: to },
  );
}

/** True when an adoption that was cut off has given the disk its name already. Throws `InvalidInput` when the name is another disk's. */
async function isThere({ from, to }: Pick<AdoptedDisk, "from" | "to">): Promise<boolean> {
  const [disk, there] = await Promise.all([from, to].map(statIfThere));
  if (there === undefined) return false;
  if (there.dev === disk?.dev && there.ino === disk.ino) return true;
  throw new InvalidInput(`${to} is there already: move it away, or name another path for ${from}`, { path: to });
}

async function statIfThere(file: string) {
  try {
    return await stat(file, { bigint: true });
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Carries it out. Killed before the operation's folder is gone, the disks are still the operation's, by two names, and the command
 * may be repeated; after that they are the configuration's. A clean mark goes on to hold if nothing but their paths has changed.
 */
export async function adoptDisks(directory: string, { disks, moves }: Adoption, store: StateStore): Promise<void> {
  const state = await SourceState.load(store, disks.vpgName);
  const { facts } = state;
  const before = await identifyAll(moves, "from");
  const inOrder = facts.disks.flatMap(({ vmName, name }) => before.filter(isOf(vmName, name)));
  const untouched = facts.clean && inOrder.length === moves.length && sameDisks(facts.disks, inOrder);
  for (const move of moves) {
    // Unlike a rename, a link replaces nothing.
    if (!(await isThere(move))) await giveName(move);
    await syncFolder(path.dirname(move.to));
  }
  const folder = (await foldersIn(directory)).find(({ operationId }) => operationId === disks.operationId);
  if (folder !== undefined) await rm(await moveToKept(directory, folder), { recursive: true });
  const after = await identifyAll(moves, "to");
  const clean = untouched && after.every((disk, index) => renamedOnly(before[index], disk));
  const numberOf = ({ vmName, name }: DiskIdentity): number =>
    facts.journalVolumes[facts.disks.findIndex(isOf(vmName, name))] ?? 0;
  await state.save({
    promotedBy: null,
    clean,
    disks: clean ? after : [],
    journalVolumes: clean ? after.map(numberOf) : [],
  });
}

async function giveName({ from, to }: AdoptedDisk): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    throw fileTrouble(error, `${from} as ${to}`);
  }
}

const isOf = (vmName: string, name: string) => (disk: DiskIdentity) => disk.vmName === vmName && disk.name === name;

function identifyAll(moves: readonly AdoptedDisk[], by: "from" | "to"): Promise<DiskIdentity[]> {
  return Promise.all(
    moves.map(({ vmName, name, sizeBytes, [by]: file }) => identifyDisk({ vmName, name, path: file, sizeBytes })),
  );
}
