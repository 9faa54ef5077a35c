/**
 * Gives the recovered disks that a VPG runs on after a failover or a move the paths that the gateway's configuration has for its
 * volumes (farshore gateway disks adopt). From then on they are those of the configuration: they can grow, and be named as one likes.
 */
import { chmod, link, lstat, realpath, rm } from "node:fs/promises";
import path from "node:path";
import { errorCode, fileTrouble } from "#adapters/embedded/file-errors.ts";
import { Corrupt, InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Role } from "#core/protection/term.ts";
import type { SourceVpgConfig } from "../config.ts";
import { refuseClosed } from "../source/closed-disks.ts";
import { identifyDisk, renamedOnly, sameDisks } from "../state/disk-identity.ts";
import { type DiskIdentity, SourceState } from "../state/source-state.ts";
import type { StateStore } from "../state/state-directory.ts";
import { syncFolder } from "./durable-file.ts";
import { disksOf, type LocalDisks, localDisks, refused } from "./local-disks.ts";
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
 * none, `Corrupt` where one is missing, `InvalidInput` saying what is in the way. Nothing is changed yet.
 */
export async function adoptionOf(directory: string, operation: string, facts: AdoptionFacts): Promise<Adoption> {
  const all = await localDisks(directory);
  const disks = disksOf(all, operation);
  const { vpgId, vpgName, state } = disks;
  if (state !== "protected") throw refused(disks, notYet[state]);
  const other = all.find(
    (each) => each !== disks && each.term !== null && (each.vpgId === vpgId || each.vpgName === vpgName),
  );
  if (other !== undefined) {
    throw refused(
      disks,
      `keep those of operation ${other.operationId} from being served, which are older: remove these first`,
    );
  }
  const moves = movesTo(disks, facts.configured);
  const known = (await SourceState.load(facts.state, vpgName)).facts;
  if (known.closed !== null) {
    throw refused(disks, `were closed by operation ${known.closed.operationId}: the VMs may run elsewhere by now`);
  }
  if (known.vpgId !== vpgId || known.promotedBy !== disks.operationId) {
    throw refused(disks, "have had no session yet by this state directory: start the gateway with it first");
  }
  const role = await facts.roleOf(vpgId);
  if (role !== "Journal")
    throw refused(disks, `are not protected at the site that the gateway replicates to: ${why[role]}`);
  for (const move of moves) await isNamed(move, directory);
  const paths = moves.map(({ to }) => to);
  await refuseClosed({ state: facts.state, host: { identifyDisk }, disks: { vpgName, paths } }, paths);
  return { disks, moves };
}

const notYet: Readonly<Record<Exclude<LocalDisks["state"], "protected" | "kept">, string>> = {
  attached: "are recovered by an operation that is under way",
  promoted: "are not protected yet: farshore reverse-protection start",
  left: "are of an earlier cycle: newer ones followed",
};

const why: Readonly<Record<Exclude<Role, "Journal"> | "deleted", string>> = {
  Runs: "it runs the VPG itself",
  Dark: "it knows no term in which it has the journal",
  Retired: "reverse protection has to end first",
  Preparing: "reverse protection has to end first",
  deleted: "the VPG was deleted there",
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
    if (disk === undefined) {
      throw refused(disks, `are without ${nameOf(volume)}: take its [[source.volume]] out, and add it later`);
    }
    if (disk.sectorBytes !== volume.sectorBytes) {
      throw refused(disks, `have other sectors: set sector = ${disk.sectorBytes} for ${disk.name}`);
    }
    const { vmName, name, path: to } = volume;
    return { vmName, name, sizeBytes: disk.sizeBytes, from: disk.path, to };
  });
}

/**
 * True when an adoption that was cut off has given the disk its second name already. Throws `InvalidInput` when that name is anything
 * else, or no place for a disk: a link that leads to it goes nowhere once the first name is gone.
 */
async function isNamed({ from, to }: AdoptedDisk, directory: string): Promise<boolean> {
  const folder = path.dirname(to);
  const [real, home] = await Promise.all([realpath(folder).catch(() => undefined), realpath(directory)]);
  const [disk, there, parent] = await Promise.all([from, to, real ?? folder].map(linkStat));
  if (disk === undefined) throw new Corrupt(`${from} is missing`, { path: from });
  if (real === undefined || parent?.isDirectory() !== true) {
    throw new InvalidInput(`${folder} is no folder that can be read`, { path: to });
  }
  if (`${real}${path.sep}`.startsWith(`${home}${path.sep}`)) {
    throw new InvalidInput(`${to} is in ${directory}, whose files come and go with operations: name a path elsewhere`, {
      path: to,
    });
  }
  if (there?.isFile() === true && there.dev === disk.dev && there.ino === disk.ino && there.nlink > 1n) return true;
  if (there !== undefined) {
    throw new InvalidInput(`${to} is there already: move it away, or name another path for ${from}`, { path: to });
  }
  if (parent.dev === disk.dev) return false;
  throw new InvalidInput(
    `${to} is on another file system than ${directory}: a disk is renamed and not copied; name a path on the same one`,
    { path: to },
  );
}

/** Of the name itself; undefined where there is none. */
async function linkStat(file: string) {
  try {
    return await lstat(file, { bigint: true });
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw fileTrouble(error, file);
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
    if (!(await isNamed(move, directory))) await giveName(move);
    await syncFolder(path.dirname(move.to));
  }
  // What a reverse protection may still ask of the operation's disks is meant of these.
  await state.save({ adopted: disks.operationId });
  for (const move of moves) {
    if (!(await isNamed(move, directory))) throw new InvalidInput(`${move.to} is gone again`, { path: move.to });
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

/** Unlike a rename, a link replaces nothing. */
async function giveName({ from, to }: AdoptedDisk): Promise<void> {
  try {
    // Until now the recovery directory kept others from reading it.
    await chmod(from, 0o600);
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
