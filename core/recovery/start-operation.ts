import type { StartOperation } from "#core/api/site-api.ts";
import {
  ComputeNotConfigured,
  ConditionFailed,
  ExecutionAlreadyExists,
  InvalidInput,
  LimitExceeded,
  OperationInProgress,
  TableBehindBucket,
  Transient,
} from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { TableAction } from "#core/ports.ts";
import { assertJournaled } from "#core/protection/assert-journaled.ts";
import { resolveCheckpoint } from "#core/protection/checkpoints.ts";
import { assertDefinitionCurrent } from "#core/protection/edit-vpg.ts";
import { assertNoneForgotten } from "#core/protection/forgotten.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { type CheckpointSelector, isLive, type Operation } from "#core/protection/operation.ts";
import { assertTableCurrent } from "#core/protection/terms.ts";
import { getVpg, updateVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { executionName, findOperation, hasEnded, operationFields } from "./operation-store.ts";
import { createReverse } from "./start-reverse.ts";

/** What an incident adds to the failover that it starts. */
export interface Trigger {
  readonly incident: NonNullable<Operation["incident"]>;
  /** Written or checked in the very transaction that makes the operation: it starts on what still is so, or not at all. */
  readonly actions: readonly TableAction[];
}

/** What is known of an operation that this site had forgotten (resume-move.ts). */
export type Found = Pick<Operation, "attempt" | "resumeId" | "sourceWasShutDown">;

/**
 * Starts a failover, a test or a move. The request's id becomes the operation's, so the same request again answers with the same
 * operation, whatever became of it. Refused at once: `ComputeNotConfigured`, `OperationInProgress` (a live one or a move runs, or was forgotten),
 * `ReplicationPaused` and `JournalFull` (a move), `LimitExceeded` (tests), `TableBehindBucket`, `NoCheckpoint`, `AmbiguousCheckpoint`, `InvalidInput` (not protected here),
 * `ConditionFailed` (an action of the trigger).
 */
export async function startOperation(
  site: Site,
  caller: Caller,
  vpg: VpgRecord,
  ask: StartOperation,
  trigger?: Trigger,
  found?: Found,
): Promise<Operation> {
  const known = await findOperation(site, ask.requestId);
  const operation = known ?? (await createAsked(site, caller, vpg, ask, trigger, found));
  if (operation.vpgId !== vpg.vpgId || operation.kind !== ask.kind) {
    throw new InvalidInput(`request ${ask.requestId} was for another operation; use a new id`, {
      requestId: ask.requestId,
    });
  }
  if (!hasEnded(operation)) await startExecution(site, operation);
  return operation;
}

/** Starts the machine for the operation's attempt. One that was started before is left as it is. */
export async function startExecution(site: Site, operation: Operation): Promise<void> {
  const input = JSON.stringify({ operationId: operation.operationId });
  try {
    await site.workflows.start(operation.kind, executionName(operation), input);
  } catch (error) {
    if (!(error instanceof ExecutionAlreadyExists)) throw error;
  }
}

const createAsked: typeof startOperation = (site, caller, vpg, ask, trigger, found) =>
  ask.kind === "reverse-protection"
    ? createReverse(site, caller, vpg, ask)
    : createOperation(site, caller, vpg, ask, trigger, found);

type FailoverAsk = Exclude<StartOperation, { kind: "reverse-protection" }>;

async function createOperation(
  site: Site,
  caller: Caller,
  vpg: VpgRecord,
  ask: FailoverAsk,
  trigger?: Trigger,
  found?: Found,
): Promise<Operation> {
  for (let attempt = 0; attempt < limits.writeAttemptsMax; attempt += 1) {
    const record = await getVpg(site, vpg.vpgId);
    assertMayStart(record, ask);
    // One that is gone on with has its source closed already.
    if (ask.kind === "move" && found === undefined) {
      assertJournaled(record, "what the VMs wrote last would not come here while they are down");
    }
    try {
      await assertTableCurrent(site, record);
      await assertDefinitionCurrent(site, record.definition);
    } catch (error) {
      // An edit, or a session that was opened between the two looks, is no sign of an old table.
      const moved = error instanceof TableBehindBucket && (await getVpg(site, vpg.vpgId)).rev !== record.rev;
      if (!moved) throw error;
      continue;
    }
    const checkpoint = await resolveCheckpoint(site, record.vpgId, selectorOf(ask));
    const made = newOperation(site, caller, record, ask, { id: checkpoint.id, time: checkpoint.time });
    const operation = { ...made, incident: trigger?.incident ?? null, ...found };
    const { operationId, vpgId, kind } = operation;
    const own: readonly TableAction[] = [
      { put: items.operation(operationId), fields: operationFields(operation), if: { absent: true } },
      { put: items.operationIndex(operationId), fields: { vpgId, kind, open: true } },
    ];
    try {
      await updateVpg(site, record, holdBy(record, operation), [...own, ...(trigger?.actions ?? [])]);
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
      const raced = await findOperation(site, ask.requestId);
      if (raced !== undefined) return raced;
      // What the trigger rests on is no longer so; the VPG's own item is the first action, and may be tried again.
      if (Number(error.details["index"]) > own.length) throw error;
      continue;
    }
    site.log.info("operation-started", { operationId, vpgId, kind, initiatedBy: operation.initiatedBy });
    return operation;
  }
  throw new Transient(`${vpg.definition.name} is being changed by others`);
}

/** A move's checkpoint is only made by it; that there is one at all is asked of it too. */
const selectorOf = (ask: FailoverAsk): CheckpointSelector =>
  ask.kind === "move" ? { kind: "latest" } : ask.options.checkpoint;

/** What the VPG's record says while the operation is open. */
export function holdBy(vpg: VpgRecord, operation: Operation): Partial<VpgRecord> {
  const { operationId } = operation;
  const holds = isLive(operation) || operation.kind === "reverse-protection";
  if (!holds) return { openTests: [...vpg.openTests, operationId] };
  // One that is gone on with is no longer forgotten.
  return { operationId, forgotten: vpg.forgotten.filter((each) => each.operationId !== operationId) };
}

function assertMayStart(vpg: VpgRecord, { kind, requestId }: FailoverAsk): void {
  const { name, compute, recoveryGatewayId } = vpg.definition;
  if (compute === "none" || recoveryGatewayId === null) {
    throw new ComputeNotConfigured(
      `${name} has no compute provider, so nothing could be brought up; farshore view export and view write still reach its data`,
      { vpgId: vpg.vpgId },
    );
  }
  if (isLive({ kind }) && vpg.operationId !== null) throw inProgress(name, vpg.operationId);
  if (isLive({ kind })) assertNoneForgotten(vpg, requestId);
  if (vpg.role !== "Journal") {
    throw new InvalidInput(`${name} is not protected at this site (its role here is ${vpg.role})`, {
      vpgId: vpg.vpgId,
      role: vpg.role,
    });
  }
  if (kind === "failover-test") assertRoomForTest(vpg);
}

/** Throws `LimitExceeded`: more open tests than this don't fit the VPG's record. */
export function assertRoomForTest({ definition, openTests }: VpgRecord): void {
  if (openTests.length < limits.testsMax) return;
  throw new LimitExceeded(
    `${definition.name} has ${limits.testsMax} tests open; stop one first (farshore failover test stop)`,
    { testsMax: limits.testsMax },
  );
}

export function inProgress(name: string, operationId: Id): OperationInProgress {
  return new OperationInProgress(
    `${name} has an operation under way: ${operationId}; farshore operation show ${operationId}`,
    { operationId },
  );
}

function newOperation(
  site: Site,
  caller: Caller,
  vpg: VpgRecord,
  ask: FailoverAsk,
  checkpoint: { readonly id: string; readonly time: number },
): Operation {
  const latest = selectorOf(ask).kind === "latest";
  return {
    ...blankOperation(site, callerText(caller), vpg, ask.requestId, ask.kind),
    live: ask.kind === "failover-live" ? ask.options : null,
    test: ask.kind === "failover-test" ? ask.options : null,
    move: ask.kind === "move" ? ask.options : null,
    // "latest" is looked up again after the source's shutdown; here it is only known to exist.
    checkpointId: latest ? null : checkpoint.id,
    checkpointTime: latest ? null : checkpoint.time,
  };
}

/** A new operation's record, without what its kind alone has. */
export function blankOperation(
  site: Site,
  initiatedBy: string,
  vpg: VpgRecord,
  operationId: Id,
  kind: Operation["kind"],
): Operation {
  return {
    operationId,
    vpgId: vpg.vpgId,
    vpgName: vpg.definition.name,
    kind,
    phase: "Starting",
    attempt: 1,
    live: null,
    test: null,
    move: null,
    sync: null,
    reverse: null,
    initiatedBy,
    incident: null,
    createdAt: site.clock.now(),
    endedAt: null,
    term: vpg.term,
    checkpointId: null,
    checkpointTime: null,
    steps: {},
    tokens: {},
    exports: {},
    bootGroupsDone: 0,
    retargets: [],
    lostTail: null,
    finals: {},
    syncFigures: null,
    reverseFigures: null,
    verdicts: [],
    error: null,
    rtoMs: null,
    sourceWasShutDown: false,
    sourceLeftOff: false,
    resumeId: null,
  };
}
