import type { StartOperation } from "#core/api/site-api.ts";
import { ConditionFailed, InvalidInput, Transient } from "#core/errors.ts";
import { type Id, newId } from "#core/ids.ts";
import type { TableAction } from "#core/ports.ts";
import { assertNoneForgotten } from "#core/protection/forgotten.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { Operation, ReverseOptions } from "#core/protection/operation.ts";
import { assertTableCurrent, highestTerm } from "#core/protection/terms.ts";
import { getVpg, updateVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { changeOperation, findOperation, hasEnded, operationFields } from "./operation-store.ts";
import { assertPromoted } from "./promoter.ts";
import { journalPeer } from "./reverse-offer.ts";
import { blankOperation, inProgress } from "./start-operation.ts";

type ReverseAsk = Extract<StartOperation, { kind: "reverse-protection" }>;

/**
 * Makes the operation of a reverse protection (R16). `force` goes to the one that is under way, if one is. Throws
 * `PeerHasNoJournal`, `OperationInProgress`, `TableBehindBucket`, `InvalidInput` for a VPG that doesn't run here or has its journal.
 */
export async function createReverse(site: Site, caller: Caller, vpg: VpgRecord, ask: ReverseAsk): Promise<Operation> {
  for (let attempt = 0; attempt < limits.writeAttemptsMax; attempt += 1) {
    const record = await getVpg(site, vpg.vpgId);
    if (ask.options.force && record.operationId !== null) return forceOpen(site, record, record.operationId);
    await assertMayReverse(site, record, ask.options);
    await assertTableCurrent(site, record);
    const operation = reverseOperation(site, callerText(caller), record, ask.requestId, ask.options);
    try {
      await updateVpg(site, record, { operationId: operation.operationId }, operationActions(operation));
      site.log.info("operation-started", {
        operationId: operation.operationId,
        vpgId: vpg.vpgId,
        kind: operation.kind,
      });
      return operation;
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
      const raced = await findOperation(site, ask.requestId);
      if (raced !== undefined) return raced;
    }
  }
  throw new Transient(`${vpg.definition.name} is being changed by others`);
}

/** The record and its place in the list of operations, both made with the VPG's. */
export function operationActions(operation: Operation): readonly TableAction[] {
  const { operationId, vpgId, kind } = operation;
  return [
    { put: items.operation(operationId), fields: operationFields(operation), if: { absent: true } },
    { put: items.operationIndex(operationId), fields: { vpgId, kind, open: true } },
  ];
}

export function reverseOperation(
  site: Site,
  initiatedBy: string,
  vpg: VpgRecord,
  operationId: Id,
  reverse: ReverseOptions,
): Operation {
  return { ...blankOperation(site, initiatedBy, vpg, operationId, "reverse-protection"), reverse };
}

/**
 * The operation that a committed one leaves behind; undefined, with the reason, when its peer can't take the journal. It holds the
 * VPG from the very transaction in which the other lets it go.
 */
export async function followingReverse(site: Site, ended: Operation, vpg: VpgRecord): Promise<Operation | string> {
  // Its commit may be gone on with long after: the old disks can be another VPG's by then, and are closed for nobody.
  if (vpg.deleted) return `${vpg.definition.name} was deleted at site ${site.siteName}`;
  try {
    await journalPeer(site, vpg);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const options = { gatewayLost: false, force: false };
  return reverseOperation(
    site,
    ended.initiatedBy,
    { ...vpg, operationId: null },
    newId(site.clock, site.random),
    options,
  );
}

async function forceOpen(site: Site, vpg: VpgRecord, operationId: Id): Promise<Operation> {
  const open = await findOperation(site, operationId);
  if (open?.kind !== "reverse-protection" || hasEnded(open)) throw inProgress(vpg.definition.name, operationId);
  if (open.phase !== "Protecting") {
    throw new InvalidInput(
      `nothing has begun yet: farshore reverse-protection withdraw ${vpg.definition.name} takes the offer back, at no cost`,
    );
  }
  return changeOperation(site, operationId, ({ reverse }) =>
    reverse === null || reverse.force ? undefined : { change: { reverse: { ...reverse, force: true } } },
  );
}

async function assertMayReverse(site: Site, vpg: VpgRecord, { force }: ReverseOptions): Promise<void> {
  const { name } = vpg.definition;
  if (vpg.operationId !== null) throw inProgress(name, vpg.operationId);
  assertNoneForgotten(vpg);
  if (vpg.role !== "Runs") {
    throw new InvalidInput(
      `${name} does not run at this site (its role here is ${vpg.role}); reverse protection follows a committed failover or move`,
      { role: vpg.role },
    );
  }
  const term = await highestTerm(site, vpg.vpgId);
  if (force && term?.journal == null) {
    throw new InvalidInput(`${name} has no term with a journal elsewhere; there is nothing to force`);
  }
  if (force) return;
  const peer = await journalPeer(site, vpg);
  if (term?.journal === peer.siteId && !vpg.needsConfiguration) {
    throw new InvalidInput(`${name} has its journal at ${peer.name} already, in term ${vpg.term}`);
  }
  await assertPromoted(site, vpg);
}
