import { InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import { findAgain, type identifyDisk, knowDisks } from "../state/disk-identity.ts";
import { type ClosedMark, type KnownDisk, SourceState } from "../state/source-state.ts";
import type { StateStore } from "../state/state-directory.ts";
import { forgetShutdowns, heldByShutdown } from "./source-commands.ts";
import type { SourceDisks } from "./source-disks.ts";

interface MarksParts {
  readonly state: StateStore;
  readonly host: { readonly identifyDisk: typeof identifyDisk };
  readonly log: Log;
  readonly disks: Pick<SourceDisks, "vpgName" | "paths">;
}

/**
 * Disks that were closed under another VPG's name are closed under this one too: what closed them may have brought their VMs up
 * elsewhere, and a configuration that was edited doesn't say that they stopped there. The mark that came with a disk goes with it.
 */
export async function stayClosed(parts: MarksParts, state: SourceState): Promise<void> {
  const { host, log, disks } = parts;
  const { closed, vpgId } = state.facts;
  if (closed !== null && closed.vpgId === vpgId) return;
  const known = await knowDisks(host.identifyDisk, disks.paths);
  if (closed !== null && (await findAgain(host.identifyDisk, closed.disks, known)) !== undefined) return;
  const found = await findMark(parts, known);
  if (closed === null && found === undefined) return;
  if (found !== undefined) {
    const { before, mark } = found;
    log.warn("source.disks-closed-before", { vpg: disks.vpgName, before, operationId: mark.operationId });
  }
  await state.save({ closed: found === undefined ? null : { ...found.mark, final: null } });
}

/** Throws `InvalidInput` when one of the disks that are to be captured was closed under another VPG's name. */
export async function refuseClosed(parts: Omit<MarksParts, "log">, paths: readonly string[]): Promise<void> {
  const found = await findMark(parts, await knowDisks(parts.host.identifyDisk, paths));
  if (found === undefined) return;
  const { before, path, mark } = found;
  throw new InvalidInput(
    `${path} was closed by operation ${mark.operationId} as a disk of ${before}, whose VMs may run elsewhere: take it out of the configuration file, or, if they don't, stop the gateway and: farshore gateway open-volumes ${before} --config FILE`,
    { path, operationId: mark.operationId },
  );
}

interface FoundMark {
  /** The name of the VPG under which it stands. */
  readonly before: string;
  /** Of one of the disks. */
  readonly path: string;
  readonly mark: ClosedMark;
}

/** A mark on one of the disks under another VPG's name. */
async function findMark(
  { state: store, host, disks: { vpgName } }: Omit<MarksParts, "log">,
  disks: readonly KnownDisk[],
): Promise<FoundMark | undefined> {
  for (const before of await SourceState.names(store)) {
    if (before === vpgName) continue;
    const mark = (await SourceState.load(store, before)).facts.closed;
    const disk = mark === null ? undefined : await findAgain(host.identifyDisk, mark.disks, disks);
    if (mark !== null && disk !== undefined) return { before, path: disk.path, mark };
  }
  return undefined;
}

/** What keeps a VPG's disks from being written at this gateway. */
export interface ClosedDisks {
  /** Of a move or a reverse protection; null when only a forced shutdown holds them. */
  readonly closed: Pick<ClosedMark, "operationId" | "term"> | null;
  readonly held: boolean;
}

/** Throws `InvalidInput` when nothing keeps them closed. */
export async function closedDisks(store: StateStore, vpgName: string): Promise<ClosedDisks> {
  const { closed, vpgId } = (await SourceState.load(store, vpgName)).facts;
  const held = vpgId !== null && (await heldByShutdown(store, vpgId));
  if (closed !== null || held) return { closed, held };
  throw new InvalidInput(`the disks of ${vpgName} are not closed at this gateway`);
}

/**
 * A person's word that nobody else runs the VPG: its disks take writes again once this gateway is started and its site grants it.
 * What still comes of the operation's close is late. The marks under other names go with it.
 */
export async function openDisks(store: StateStore, vpgName: string): Promise<void> {
  const { closed, vpgId } = (await SourceState.load(store, vpgName)).facts;
  if (closed !== null) await takeMarks(store, closed.operationId);
  if (vpgId !== null) await forgetShutdowns(store, vpgId);
}

async function takeMarks(store: StateStore, operationId: Id): Promise<void> {
  for (const name of await SourceState.names(store)) {
    const state = await SourceState.load(store, name);
    if (state.facts.closed?.operationId === operationId) await state.save({ closed: null, opened: operationId });
  }
}
