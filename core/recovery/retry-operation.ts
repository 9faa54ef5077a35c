import { ConditionFailed, InvalidInput, LimitExceeded, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { assertNoneForgotten } from "#core/protection/forgotten.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { Decision, Operation } from "#core/protection/operation.ts";
import { updateVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { findDecision, followsFailure } from "./decide.ts";
import { leftStanding } from "./left-standing.ts";
import { recoveryLimits } from "./limits.ts";
import { getOperation, hasEnded, operationFields, vpgOf } from "./operation-store.ts";
import { reconcileOperation } from "./reconcile.ts";
import { assertRoomForTest, holdBy, inProgress, startExecution } from "./start-operation.ts";
import { commitStepsOf, stepNames, stepOk, undoStepsOf } from "./steps.ts";

/**
 * Attempt + 1 of an operation that failed half way: a commit goes on to its end, an undo goes on undoing; what is done is not
 * done again. Throws `OperationInProgress` while an attempt or another operation runs, `InvalidInput` when nothing is left to
 * go on with (start a new one).
 */
export async function retryOperation(site: Site, caller: Caller, operationId: Id): Promise<Operation> {
  await reconcileOperation(site, operationId);
  for (let attempt = 0; attempt < limits.writeAttemptsMax; attempt += 1) {
    const operation = await getOperation(site, operationId);
    if (!hasEnded(operation)) throw inProgress(operation.vpgName, operationId);
    const decision = await findDecision(site, operationId);
    assertUnfinished(operation, decision);
    const vpg = await vpgOf(site, operation);
    assertNotDeclaredOver(vpg, operation);
    const other = vpg.operationId;
    if (operation.kind !== "failover-test" && other !== null) throw inProgress(operation.vpgName, other);
    if (operation.kind !== "failover-test") assertNoneForgotten(vpg, operationId);
    if (operation.kind === "failover-test") assertRoomForTest(vpg);
    const next = nextAttempt(operation, decision, callerText(caller), site.clock.now());
    const { vpgId, kind } = operation;
    try {
      await updateVpg(site, vpg, holdBy(vpg, operation), [
        { put: items.operation(operationId), fields: operationFields(next), if: { rev: operation.rev } },
        { put: items.operationIndex(operationId), fields: { vpgId, kind, open: true } },
      ]);
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
      continue;
    }
    site.log.info("operation-retried", { operationId, attempt: next.attempt, initiatedBy: callerText(caller) });
    await startExecution(site, next);
    return next;
  }
  throw new Transient(`operation ${operationId} is being written by others`);
}

function assertUnfinished(operation: Operation, decision: Decision | undefined): void {
  const { operationId, vpgName, attempt } = operation;
  const committing = decision?.decision === "commit";
  const finished = committing
    ? commitStepsOf(operation).every((step) => stepOk(operation, step)) || stepOk(operation, stepNames.endAlone)
    : undoStepsOf(operation).every((step) => stepOk(operation, step));
  if (operation.phase !== "Failed" || finished) {
    throw new InvalidInput(`operation ${operationId} has nothing left to do; start a new one for ${vpgName}`, {
      operationId,
      phase: operation.phase,
    });
  }
  if (attempt >= recoveryLimits.attemptsMax) {
    throw new LimitExceeded(`operation ${operationId} was tried ${attempt} times`, { operationId, attempt });
  }
}

/** What left its volumes attached holds its VPG until it is gone on with, or a person declares it to be over. */
function assertNotDeclaredOver(vpg: VpgRecord, operation: Operation): void {
  const { operationId, vpgName, phase } = operation;
  if (vpg.role !== "Journal" || leftStanding(operation, phase) === undefined) return;
  if (vpg.forgotten.some((each) => each.operationId === operationId)) return;
  throw new InvalidInput(`operation ${operationId} was declared to be over; start a new one for ${vpgName}`, {
    operationId,
  });
}

function nextAttempt(operation: Operation, decision: Decision | undefined, by: string, now: number): Operation {
  const attempt = operation.attempt + 1;
  const again = [...commitStepsOf(operation), ...undoStepsOf(operation)].filter((name) => !stepOk(operation, name));
  const steps = Object.fromEntries(Object.entries(operation.steps).filter(([name]) => !again.includes(name)));
  steps[`attempt-${attempt}`] = {
    state: "done",
    startedAt: now,
    endedAt: now,
    result: `Asked for by ${by}.`,
    error: null,
  };
  // An undo after a failure still ends as Failed, by that failure; what only kept a decision from being carried out is over.
  const error = decision !== undefined && followsFailure(decision) ? operation.error : null;
  return { ...operation, attempt, phase: "Starting", endedAt: null, steps, error };
}
