import { InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import { type ClosedMark, SourceState } from "../state/source-state.ts";
import type { StateStore } from "../state/state-directory.ts";
import { forgetShutdowns, heldByShutdown } from "./source-commands.ts";
import type { SourceDisks } from "./source-disks.ts";

/**
 * Disks that were closed under another VPG's name are closed under this one too: what closed them may have brought their VMs up
 * elsewhere, and a configuration that was edited doesn't say that they stopped there.
 */
export async function stayClosed(
  { state: store, disks, log }: { readonly state: StateStore; readonly disks: SourceDisks; readonly log: Log },
  state: SourceState,
): Promise<void> {
  if (state.facts.closed !== null) return;
  for (const name of await SourceState.names(store)) {
    if (name === disks.vpgName) continue;
    const { vpgId, closed } = (await SourceState.load(store, name)).facts;
    if (closed === null || !closed.paths.some((path) => disks.paths.includes(path))) continue;
    log.warn("source.disks-closed-before", { vpg: disks.vpgName, before: name, operationId: closed.operationId });
    return await state.save({ vpgId: state.facts.vpgId ?? vpgId, closed: { ...closed, final: null } });
  }
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
