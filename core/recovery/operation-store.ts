import { ConditionFailed, Corrupt, InvalidInput, NotFound, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { checkStored, tableFields } from "#core/json.ts";
import type { TableAction, TableFields } from "#core/ports.ts";
import type { VpgDefinition } from "#core/protection/definition.ts";
import { definitionOfCheckpoint } from "#core/protection/definition-at.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { endedPhases, type Operation, operationSchema } from "#core/protection/operation.ts";
import { findVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";

export interface OperationRecord extends Operation {
  /** Of the table item; every change is conditional on it. */
  readonly rev: number;
}

export async function findOperation(site: Site, operationId: Id): Promise<OperationRecord | undefined> {
  const item = await site.table.get(items.operation(operationId));
  return item && { ...checkStored(operationSchema, item.fields, `operation ${operationId}`), rev: item.rev };
}

/** Throws `NotFound`. */
export async function getOperation(site: Site, operationId: Id): Promise<OperationRecord> {
  const record = await findOperation(site, operationId);
  if (record !== undefined) return record;
  throw new NotFound(`no operation ${operationId} at this site; farshore operation list shows them`, { operationId });
}

export const hasEnded = (operation: Operation): boolean => endedPhases.includes(operation.phase);

export const executionName = ({ operationId, attempt }: Pick<Operation, "operationId" | "attempt">): string =>
  `${operationId}.${attempt}`;

/** The operation's fields as the table holds them. */
export function operationFields(operation: Operation | OperationRecord): TableFields {
  const { rev: _, ...fields } = { rev: 0, ...operation };
  return tableFields(fields);
}

export interface OperationChange {
  readonly change: Partial<Operation>;
  /** Written with it, all or nothing. */
  readonly actions?: readonly TableAction[];
}

/**
 * Reads, decides and writes until nobody came between. `decide` throws to refuse and answers undefined for no change.
 * Throws `Transient` when others write all the time, `InvalidInput` for an operation that has ended.
 */
export async function changeOperation(
  site: Site,
  operationId: Id,
  decide: (operation: OperationRecord) => OperationChange | undefined | Promise<OperationChange | undefined>,
): Promise<OperationRecord> {
  for (let attempt = 0; attempt < limits.writeAttemptsMax; attempt += 1) {
    const record = await getOperation(site, operationId);
    if (hasEnded(record)) {
      throw new InvalidInput(`operation ${operationId} has ended as ${record.phase}`, { operationId });
    }
    const decided = await decide(record);
    if (decided === undefined) return record;
    const next = { ...record, ...decided.change };
    try {
      await site.table.transact([
        { put: items.operation(operationId), fields: operationFields(next), if: { rev: record.rev } },
        ...(decided.actions ?? []),
      ]);
      return { ...next, rev: record.rev + 1 };
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
    }
  }
  throw new Transient(`operation ${operationId} is being written by others`);
}

/** The operation's VPG, deleted or not. */
export async function vpgOf(site: Site, operation: Operation): Promise<VpgRecord> {
  const vpg = await findVpg(site, operation.vpgId);
  if (vpg !== undefined) return vpg;
  throw new Corrupt(`operation ${operation.operationId} is of an unknown VPG`, { vpgId: operation.vpgId });
}

/** What the operation recovers: the VMs and volumes of its checkpoint, once there is one. */
export async function recoveredOf(site: Site, operation: Operation, vpg: VpgRecord): Promise<VpgDefinition> {
  if (operation.checkpointId === null) return vpg.definition;
  return definitionOfCheckpoint(site, vpg.definition, operation.checkpointId);
}
