import { z } from "zod";
import { Corrupt, InvalidInput, NotFound } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { allOperationsPrefix, forgottenKey, operationKey, parseOperationKey } from "#core/journal/keys.ts";
import { jsonBytes, parseStored } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import { unpinAction } from "#core/protection/checkpoints.ts";
import type { Forgotten } from "#core/protection/forgotten.ts";
import { findGateway, isConnected } from "#core/protection/gateway-store.ts";
import { isLive, type Operation, operationKinds } from "#core/protection/operation.ts";
import { tryAgain } from "#core/protection/try-again.ts";
import { findVpg, updateVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { leftStanding } from "./left-standing.ts";
import { findOperation } from "./operation-store.ts";
import { assertListened } from "./site-began.ts";

/** Of one attempt of a live operation, so that it is not forgotten with the table. */
const begunSchema = z.strictObject({
  formatVersion: z.literal(1),
  operationId: idSchema,
  attempt: z.int().min(1),
  kind: z.enum(operationKinds),
  vpgId: idSchema,
  term: z.int().min(1),
  startedAt: z.int(),
  /** For whoever has the bucket alone; null for "latest", which is looked up later. */
  checkpointId: z.string().nullable(),
});

/** Creates the attempt's object, once; of an operation that brings nothing up to stay there is none. */
export async function noteBegun(site: Site, operation: Operation): Promise<void> {
  if (!isLive(operation)) return;
  const { operationId, attempt, kind, vpgId, term, createdAt: startedAt, checkpointId } = operation;
  const begun: z.infer<typeof begunSchema> = {
    ...{ formatVersion: 1, operationId, attempt, kind, vpgId, term, startedAt, checkpointId },
  };
  await site.objects.put(operationKey(vpgId, operationId, attempt), jsonBytes(begun), { ifAbsent: true });
}

/**
 * By VPG the operations of which an attempt began that has no report, or whose last one left volumes attached, and that no person
 * declared to be over. `operations` are those that have a report, by the last one: what was completed or rolled back is over,
 * whatever its attempts were. `declared` has the attempt by which an operation was declared to be over.
 */
export async function forgottenOperations(
  { objects }: Pick<Site, "objects">,
  operations: ReadonlyMap<Id, Operation>,
): Promise<{ readonly held: ReadonlyMap<Id, readonly Forgotten[]>; readonly declared: ReadonlyMap<Id, number> }> {
  const newest = new Map<Id, { readonly key: string; readonly attempt: number }>();
  const declared = new Map<Id, number>();
  // In the order of their names the attempts of an operation come one after the other.
  for await (const { key } of listAll(objects, allOperationsPrefix)) {
    const place = parseOperationKey(key);
    if (place === undefined) throw new Corrupt(`${key} is not the name of an operation`, { key });
    const operationId = idSchema.parse(place.operationId);
    if (place.forgotten) declared.set(operationId, place.attempt);
    else newest.set(operationId, { key, attempt: place.attempt });
  }
  const found = new Map<Id, Forgotten[]>();
  const add = (vpgId: Id, forgotten: Forgotten): void => {
    if ((declared.get(forgotten.operationId) ?? 0) >= forgotten.attempt) return;
    found.set(vpgId, [...(found.get(vpgId) ?? []), forgotten]);
  };
  for (const ended of operations.values()) {
    const standing = leftStanding(ended, ended.phase);
    const last = ended.attempt >= (newest.get(ended.operationId)?.attempt ?? 0);
    if (standing !== undefined && last) add(ended.vpgId, standing);
  }
  for (const [operationId, { key, attempt }] of newest) {
    const ended = operations.get(operationId);
    if (ended !== undefined && (ended.phase !== "Failed" || ended.attempt >= attempt)) continue;
    const { vpgId, kind, startedAt } = parseStored(begunSchema, await objects.get(key), key);
    const known = ended !== undefined;
    add(vpgId, { operationId, kind, attempt, startedAt, known });
  }
  return { held: found, declared };
}

/**
 * A person has looked, and nothing of the operation that holds the VPG runs or is exported any more: the VPG is free again, also after
 * another rebuild, and so is its checkpoint. Idempotent. Throws `NotFound` for an operation that never began, `InvalidInput` when it is not a forgotten one, or when the
 * recovery gateway says itself that it still exports what was never committed.
 */
export async function forgetOperation(site: Site, caller: Caller, operationId: Id): Promise<VpgRecord> {
  const vpgId = await vpgOfBegun(site, operationId);
  return tryAgain(`operation ${operationId}`, async () => {
    const vpg = await findVpg(site, vpgId);
    if (vpg === undefined) throw new NotFound(`no VPG ${vpgId} at this site`, { vpgId });
    const forgotten = vpg.forgotten.find((each) => each.operationId === operationId);
    if (forgotten === undefined) {
      throw new InvalidInput(
        `operation ${operationId} holds nothing as forgotten; farshore operation list --vpg ${vpg.definition.name} shows what is known`,
        { operationId },
      );
    }
    await assertNotExported(site, vpg, operationId);
    const declared = { formatVersion: 1, operationId, vpgId, by: callerText(caller), at: site.clock.now() };
    await site.objects.put(forgottenKey(vpgId, operationId, forgotten.attempt), jsonBytes(declared), {
      ifAbsent: true,
    });
    const checkpointId = (await findOperation(site, operationId))?.checkpointId ?? null;
    const unpin = checkpointId === null ? [] : await unpinAction(site, vpgId, checkpointId, operationId);
    const left = vpg.forgotten.filter((each) => each !== forgotten);
    // Together: one that is gone on with meanwhile keeps its pin.
    const freed = await updateVpg(site, vpg, { forgotten: left }, unpin);
    site.log.warn("operation-forgotten", { operationId, vpgId, initiatedBy: callerText(caller) });
    return freed;
  });
}

async function vpgOfBegun({ objects }: Site, operationId: Id): Promise<Id> {
  for await (const { key } of listAll(objects, allOperationsPrefix)) {
    const place = parseOperationKey(key);
    if (place?.operationId === operationId) return idSchema.parse(place.vpgId);
  }
  throw new NotFound(`no live operation ${operationId} began at this site`, { operationId });
}

/** After a commit its volumes are production disks, and stay exported. */
async function assertNotExported(site: Site, { role, definition }: VpgRecord, operationId: Id): Promise<void> {
  const { recoveryGatewayId, recoveryGatewayName } = definition;
  if (role !== "Journal" || recoveryGatewayId === null) return;
  const gateway = await findGateway(site, recoveryGatewayId);
  const name = recoveryGatewayName ?? recoveryGatewayId;
  if (!isConnected(gateway, site.clock.now())) return assertListened(site, [{ gatewayId: recoveryGatewayId, name }]);
  if (!gateway.attachedOperations.includes(operationId)) return;
  throw new InvalidInput(
    `gateway ${name} says that it still exports the volumes of operation ${operationId}: stop its ` +
      "recovered VMs, stop the gateway, move the operation's folder out of its recovery directory, start it, and say it again",
    { operationId },
  );
}
