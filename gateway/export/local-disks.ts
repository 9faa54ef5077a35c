/**
 * The disks that operations left in a recovery gateway's directory, and which of them may go. A gateway never deletes a promoted
 * disk by itself: a person says so, at its machine (farshore gateway disks).
 */
import { rm, stat } from "node:fs/promises";
import { InvalidInput, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Role } from "#core/protection/term.ts";
import type { AttachBody } from "./operation-folder.ts";
import { foldersIn, keptFoldersIn, moveToKept, type OperationFolder } from "./operation-folder.ts";
import { dataFileOf } from "./scratch.ts";

/**
 * attached: an operation under way recovers them · promoted: local disks since a commit, exported by the gateway · protected: promoted
 * ones from which the VPG was captured last, served unless they are closed · left: the same of an earlier cycle, which newer ones
 * followed · kept: scratch from before a rollback or a retarget
 */
export type DiskState = "attached" | "promoted" | "protected" | "left" | "kept";

export interface LocalDisks {
  readonly operationId: Id;
  readonly vpgId: Id;
  readonly vpgName: string;
  readonly state: DiskState;
  /** In which they were captured; null of others. */
  readonly term: number | null;
  /** Of kept ones, ms since the epoch. */
  readonly keptUntil: number | null;
  readonly volumes: readonly {
    /** `VM/VOLUME`. */
    readonly name: string;
    readonly path: string;
    readonly sizeBytes: number;
    readonly sectorBytes: number;
    /** On this machine's disk, in whole blocks. */
    readonly writtenBytes: number;
  }[];
}

/** All in the recovery directory, in the order of their operations; kept ones behind the others. */
export async function localDisks(directory: string): Promise<readonly LocalDisks[]> {
  const folders = (await foldersIn(directory)).sort((left, right) => (left.operationId < right.operationId ? -1 : 1));
  const own = await Promise.all(folders.map(standingOf));
  const found = own.flatMap((each) => each ?? []);
  const newest = (vpgId: Id): number =>
    Math.max(...found.flatMap(({ body, term }) => (body.vpgId === vpgId && term !== null ? term : [])));
  const kept = await keptFoldersIn(directory);
  return [
    ...(await Promise.all(
      found.map(async ({ folder, body, promoted, term }): Promise<LocalDisks> => {
        const captured = term === newest(body.vpgId) ? "protected" : "left";
        const state = term !== null ? captured : promoted ? "promoted" : "attached";
        return { ...(await described(folder, body)), state, term, keptUntil: null };
      }),
    )),
    ...(await Promise.all(
      kept.map(async (each): Promise<LocalDisks> => {
        return { ...(await described(each, each.body)), state: "kept", term: null, keptUntil: each.keptUntil };
      }),
    )),
  ];
}

interface Standing {
  readonly folder: OperationFolder;
  readonly body: AttachBody;
  readonly promoted: boolean;
  readonly term: number | null;
}

/** Undefined when its end or its beginning was cut off: the gateway removes it, or begins it again. */
async function standingOf(folder: OperationFolder): Promise<Standing | undefined> {
  const [body, promotedBytes, term] = await Promise.all([
    folder.attachBody(),
    folder.promotedBytes(),
    folder.capturedTerm(),
  ]);
  if (body === undefined || (await folder.isDetached())) return undefined;
  return { folder, body, promoted: promotedBytes !== undefined, term: term ?? null };
}

async function described(folder: Pick<OperationFolder, "operationId" | "volumeFolder">, body: AttachBody) {
  const { vpgId, vpgName, volumes } = body;
  const disks = volumes.map(async ({ volume, vmName, name, sizeBytes, sectorBytes }) => {
    const path = dataFileOf(folder.volumeFolder(volume));
    return { name: `${vmName}/${name}`, path, sizeBytes, sectorBytes, writtenBytes: await allocatedBytes(path) };
  });
  return { operationId: folder.operationId, vpgId, vpgName, volumes: await Promise.all(disks) };
}

/** 0 of a file that isn't there (yet, or any more). */
async function allocatedBytes(file: string): Promise<number> {
  // POSIX counts blocks of 512 bytes.
  const found = await stat(file).catch(() => undefined);
  return (found?.blocks ?? 0) * 512;
}

export interface RemovalFacts {
  /** The VPG whose disks the gateway's configuration names. */
  readonly configured: string | undefined;
  /** What the gateway's own site is to the VPG, or that it was deleted there. */
  readonly roleOf: (vpgId: Id) => Promise<Role | "deleted">;
}

export interface Removal {
  readonly disks: LocalDisks;
  /** The gateway may have them open: it must be stopped. */
  readonly whileStopped: boolean;
}

/**
 * Whether an operation's disks may be removed. Throws `NotFound` where it has none, `InvalidInput` saying what they are for otherwise.
 * Promoted disks may go once the VPG is journaled at the gateway's own site again, since then it runs elsewhere and reverse protection
 * has what it wanted of them; or once it was deleted there.
 */
export async function removalOf(directory: string, operation: string, facts: RemovalFacts): Promise<Removal> {
  const all = await localDisks(directory);
  const disks = disksOf(all, operation);
  const { vpgId, vpgName, state } = disks;
  if (state === "left") return { disks, whileStopped: false };
  if (state === "attached") {
    throw refused(disks, `are recovered by an operation that is under way: farshore operation show ${operation}`);
  }
  const role = await facts.roleOf(vpgId);
  if (role !== "deleted" && role !== "Journal") throw refused(disks, usedFor[role]);
  const older = all.filter((each) => each.vpgId === vpgId && each.state === "left");
  if (state === "protected" && older.length > 0) {
    const ids = older.map(({ operationId }) => operationId).join(", ");
    throw refused(disks, `keep those from being served that an earlier cycle left: remove the left ones first, ${ids}`);
  }
  if (facts.configured === vpgName) {
    throw refused(
      disks,
      `keep those from being served that the configuration file names for ${vpgName} and that are older: take vpg and the volumes out of its [source] first`,
    );
  }
  return { disks, whileStopped: true };
}

/** An operation's, whatever they are now. Throws `NotFound` where it has none, `InvalidInput` where only scratch is kept of it. */
export function disksOf(all: readonly LocalDisks[], operation: string): StandingDisks {
  const own = all.filter(({ operationId }) => operationId === operation);
  const [kept] = own;
  if (kept === undefined) throw new NotFound(`operation ${operation} has no disks here; farshore gateway disks list`);
  const standing = own.find(isStanding);
  if (standing !== undefined) return standing;
  throw refused(kept, `are scratch that is kept until ${new Date(kept.keptUntil ?? 0).toISOString()} and goes then`);
}

/** Disks that are not merely kept. */
type StandingDisks = LocalDisks & { readonly state: Exclude<DiskState, "kept"> };
const isStanding = (disks: LocalDisks): disks is StandingDisks => disks.state !== "kept";

const usedFor: Readonly<Record<Exclude<Role, "Journal">, string>> = {
  Runs: "are in use, as far as this site knows: it runs the VPG. After a move away from here, reverse protection needs them",
  Dark: "are what reverse protection will compare with: the VPG runs elsewhere and is not journaled here yet",
  Retired: "are needed by the reverse protection that is under way",
  Preparing: "are needed by the reverse protection that is under way",
};

/** What is said of them, as an error. */
export function refused({ operationId, vpgName }: LocalDisks, why: string): InvalidInput {
  return new InvalidInput(`the disks of operation ${operationId} (${vpgName}) ${why}`, { operationId });
}

/** Removes them for good; killed anywhere, they are gone for the gateway, whose next sweep removes what is left of them. */
export async function removeDisks(directory: string, { operationId }: LocalDisks): Promise<void> {
  const folder = (await foldersIn(directory)).find((each) => each.operationId === operationId);
  if (folder === undefined) return;
  await rm(await moveToKept(directory, folder), { recursive: true, force: true });
}
