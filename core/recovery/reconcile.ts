import { recordSyncFailure } from "#core/delta-sync/end.ts";
import { CommandRunning, FarshoreError, isRetryable, OperationAborted } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { ExecutionDescription } from "#core/ports.ts";
import { sweepCommands } from "#core/protection/commands.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { advanceReverse } from "#core/protection/reverse-journal.ts";
import { listVpgs, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { checkStep, issueStep } from "./command-step.ts";
import { deciders, findDecision, settleDecision, undoDecision, wakeDecision } from "./decide.ts";
import { endOperation } from "./end-operation.ts";
import {
  changeOperation,
  executionName,
  getOperation,
  hasEnded,
  type OperationRecord,
  vpgOf,
} from "./operation-store.ts";
import { powerOnLater } from "./power-on-later.ts";
import { withdrawOwn } from "./reverse-step.ts";
import { enterDecided } from "./route.ts";
import { startExecution } from "./start-operation.ts";
import { isLeaving, isOver, runStep, stepNames, undoStepsOf } from "./steps.ts";

/** What the reconciler found: ended · running · started (its execution was missing) · undoing (an orphan's commands are out) · failed (an orphan, ended now). */
export type Reconciled = "ended" | "running" | "started" | "undoing" | "failed";

/**
 * Compares every open operation with its execution and takes ended and expired commands out of the queues. Events about
 * executions are best effort and a stopped execution runs no Catch, so this is what keeps a VPG from staying in FailingOver.
 * One's trouble doesn't keep the others from being looked after: it is thrown at the end.
 */
export async function reconcile(site: Site): Promise<Readonly<Record<string, Reconciled>>> {
  const results: Record<string, Reconciled> = {};
  const troubles: unknown[] = [];
  for (const vpg of await listVpgs(site)) {
    for (const operationId of openOperations(vpg)) {
      try {
        results[operationId] = await reconcileOperation(site, operationId);
      } catch (error) {
        troubles.push(error);
      }
    }
    try {
      await powerOnLater(site, vpg);
      await advanceReverse(site, vpg);
    } catch (error) {
      troubles.push(error);
    }
    const sources = sourceGatewaysOf(vpg.definition).map(({ gatewayId }) => gatewayId);
    for (const gatewayId of new Set([...sources, ...(vpg.reverse?.gateways ?? []), vpg.definition.recoveryGatewayId])) {
      if (gatewayId === null) continue;
      try {
        await sweepCommands(site, gatewayId);
      } catch (error) {
        troubles.push(error);
      }
    }
  }
  if (troubles.length === 1) throw troubles[0];
  if (troubles.length > 1)
    throw new AggregateError(troubles, `${troubles.length} operations or queues could not be reconciled`);
  return results;
}

const openOperations = ({ operationId, syncOperationId, openTests }: VpgRecord): readonly Id[] =>
  [operationId, syncOperationId, ...openTests].filter((id) => id !== null);

export async function reconcileOperation(site: Site, operationId: Id): Promise<Reconciled> {
  const operation = await getOperation(site, operationId);
  if (hasEnded(operation)) return "ended";
  const execution = await site.workflows.describe(operation.kind, executionName(operation));
  if (execution === undefined) {
    // Killed between the table's write and the start.
    await startExecution(site, operation);
    return "started";
  }
  if (execution.status === "RUNNING") {
    const decided = (await findDecision(site, operationId)) !== undefined;
    if (decided || isLeaving(operation)) await wakeDecision(site, operationId);
    return "running";
  }
  site.log.warn("operation-orphaned", { operationId, execution: execution.name, status: execution.status });
  return endOrphan(site, operation, execution);
}

/**
 * An execution that is over without having ended its operation. Before a commit everything is undone, command by command as
 * the workflow would have; after it the VPG stays with this site and a retry completes it.
 */
async function endOrphan(site: Site, operation: OperationRecord, execution: ExecutionDescription): Promise<Reconciled> {
  const { operationId } = operation;
  const why = `${execution.error ?? execution.status}${execution.cause ? `: ${execution.cause}` : ""}`;
  const message = `the workflow was ${execution.status} from outside (${why})`.slice(0, limits.notesCharactersMax);
  if (operation.kind === "delta-sync") {
    await recordSyncFailure(site, operationId, { name: OperationAborted.name, message });
    await endOperation(site, operationId);
    return "failed";
  }
  const decision = await settleDecision(site, operation, {
    decision: undoDecision(operation),
    by: deciders.reconciler,
    success: operation.kind === "failover-test" ? false : null,
    notes: message,
  });
  if ((await enterDecided(site, operationId, decision)) === "undo") {
    const error = { name: OperationAborted.name, message };
    await changeOperation(site, operationId, (record) => (record.error === null ? { change: { error } } : undefined));
    const undone = operation.kind === "reverse-protection" ? takeBackAlone(site, operationId) : undo(site, operation);
    if (!(await undone)) return "undoing";
  }
  await endOperation(site, operationId);
  return "failed";
}

/** What the peer is told is a courtesy, so that nobody has to reach it. */
async function takeBackAlone(site: Site, operationId: Id): Promise<boolean> {
  await runStep(site, operationId, stepNames.withdrawOffer, async (operation) => {
    const taken = await withdrawOwn(site, operation, await vpgOf(site, operation));
    const result = taken === undefined ? "Nothing had been offered." : `The offer of term ${taken.n} is taken back.`;
    return { result };
  });
  return true;
}

/** Goes on with the undo steps as far as they can be done now; false while a gateway is at one. */
async function undo(site: Site, operation: OperationRecord): Promise<boolean> {
  const { operationId } = operation;
  for (const step of undoStepsOf(operation)) {
    await issueStep(site, operationId, step);
    try {
      await checkStep(site, operationId, step);
    } catch (error) {
      if (error instanceof CommandRunning) return false;
      if (!(error instanceof FarshoreError) || isRetryable(error)) throw error;
      const { steps } = await getOperation(site, operationId);
      if (!isOver(steps[step])) throw error;
      // As in the workflows: without confirmation that the recovered VMs are stopped nothing else is touched.
      if (step === stepNames.stopVms) return true;
    }
  }
  return true;
}
