import { ConditionFailed, InvalidInput, OperationInProgress } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { assertJournaled } from "#core/protection/assert-journaled.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { findGateway, streamOf } from "#core/protection/gateway-store.ts";
import { items } from "#core/protection/items.ts";
import type { Operation, SyncOptions } from "#core/protection/operation.ts";
import { assertTableCurrent } from "#core/protection/terms.ts";
import { tryAgain } from "#core/protection/try-again.ts";
import { getVpg, updateVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import { findOperation, hasEnded, operationFields } from "#core/recovery/operation-store.ts";
import { blankOperation, inProgress, startExecution } from "#core/recovery/start-operation.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";

/**
 * Starts a delta-sync. The request's id becomes the operation's, so the same request again answers with the same operation,
 * whatever became of it. It holds no other operation up, and none holds it up but a move that closed the disks. Throws
 * `OperationInProgress` then and while another delta-sync of the VPG runs, `ReplicationPaused` and `JournalFull` while nothing is journaled, `TableBehindBucket`, `InvalidInput`
 * (not protected here).
 */
export async function startDeltaSync(
  site: Site,
  caller: Caller,
  ref: string,
  ask: { readonly requestId: Id; readonly options: SyncOptions },
): Promise<Operation> {
  const known = await findOperation(site, ask.requestId);
  const operation = known ?? (await tryAgain(`VPG ${ref}`, () => create(site, caller, ref, ask)));
  if (operation.kind !== "delta-sync") {
    throw new InvalidInput(`request ${ask.requestId} was for another operation; use a new id`, {
      requestId: ask.requestId,
    });
  }
  if (!hasEnded(operation)) await startExecution(site, operation);
  return operation;
}

async function create(
  site: Site,
  caller: Caller,
  ref: string,
  { requestId, options }: { readonly requestId: Id; readonly options: SyncOptions },
): Promise<Operation> {
  const vpg = await getVpg(site, ref);
  assertMaySync(vpg);
  // What a gateway asks for is of a session that it has just opened.
  if (caller.role !== "gateway") await assertOpen(site, vpg);
  await assertTableCurrent(site, vpg);
  const operation: Operation = {
    ...blankOperation(site, callerText(caller), vpg, requestId, "delta-sync"),
    sync: options,
  };
  const { vpgId, kind, operationId, initiatedBy } = operation;
  try {
    await updateVpg(site, vpg, { syncOperationId: operationId }, [
      { put: items.operation(operationId), fields: operationFields(operation), if: { absent: true } },
      { put: items.operationIndex(operationId), fields: { vpgId, kind, open: true } },
    ]);
  } catch (error) {
    const raced = error instanceof ConditionFailed ? await findOperation(site, requestId) : undefined;
    if (raced === undefined) throw error;
    return raced;
  }
  site.log.info("operation-started", { operationId, vpgId, kind, initiatedBy });
  return operation;
}

function assertMaySync(vpg: VpgRecord): void {
  const { definition, syncOperationId, role, vpgId } = vpg;
  const { name } = definition;
  if (syncOperationId !== null) {
    throw new OperationInProgress(
      `${name} has a delta-sync under way: ${syncOperationId}; farshore operation watch ${syncOperationId}`,
      { operationId: syncOperationId },
    );
  }
  if (role !== "Journal" && role !== "Preparing") {
    throw new InvalidInput(`${name} is not protected at this site (its role here is ${role})`, { vpgId, role });
  }
  assertJournaled(vpg, "nothing is compared");
}

/** Closed disks are compared by who closed them. Throws `OperationInProgress`, `InvalidInput`. */
async function assertOpen(site: Site, { vpgId, definition, operationId }: VpgRecord): Promise<void> {
  for (const { gatewayId, name } of sourceGatewaysOf(definition)) {
    if (streamOf(await findGateway(site, gatewayId), vpgId)?.mode !== "closed") continue;
    if (operationId !== null) throw inProgress(definition.name, operationId);
    throw new InvalidInput(
      `gateway ${name} keeps the disks of ${definition.name} closed, so nothing is compared: farshore vpg show ${definition.name}`,
      { vpgId },
    );
  }
}
