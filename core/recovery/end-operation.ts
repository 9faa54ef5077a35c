import { syncOutcome } from "#core/delta-sync/end.ts";
import { ConditionFailed, FarshoreError, isRetryable, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { annotate, findTags } from "#core/protection/checkpoints.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { type Decision, isLive, type Operation, type Phase } from "#core/protection/operation.ts";
import { updateVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { issueStep } from "./command-step.ts";
import { ensureMinted, sealOldSessions } from "./commit.ts";
import { deciders, settleDecision, undoDecision } from "./decide.ts";
import { leftStanding, letGo, nothingAttached } from "./left-standing.ts";
import { withNext } from "./next-verb.ts";
import {
  changeOperation,
  getOperation,
  hasEnded,
  type OperationRecord,
  operationFields,
  recoveredOf,
  vpgOf,
} from "./operation-store.ts";
import { type Outcome, reportOf, storeReport } from "./report.ts";
import { letGoOfOthers } from "./retarget.ts";
import { scratchLeases } from "./scratch-leases.ts";
import { startExecution } from "./start-operation.ts";
import { followingReverse, operationActions } from "./start-reverse.ts";
import { commitStepsOf, endedStep, isOver, stepNames, stepOk, undoStepsOf } from "./steps.ts";

/**
 * Task end-operation, also done by the reconciler: works out from the record alone how the operation ended, lets its pin go
 * (a lease stands for it while a scratch is kept), stores the report and releases the VPG, the last two in an order that makes every repetition end the same way. Answers the
 * phase it ended in. What to do after a failed attempt stands in its error; one that leaves volumes attached goes on holding the VPG.
 */
export async function endOperation(site: Site, operationId: Id): Promise<{ readonly phase: Phase }> {
  const operation = await getOperation(site, operationId);
  if (hasEnded(operation)) return { phase: operation.phase };
  if (operation.kind === "delta-sync") return endSync(site, operation);
  const decision = await settleDecision(site, operation, {
    decision: undoDecision(operation),
    by: deciders.workflow,
    success: operation.kind === "failover-test" ? false : null,
    notes: "the operation ended before anybody decided",
  });
  const reverse = operation.kind === "reverse-protection";
  const unminted = decision.decision === "commit" && !reverse ? await completeMint(site, operation) : null;
  const outcome = reverse ? reverseOutcomeOf(operation, decision) : outcomeOf(operation, decision, unminted);
  if (operation.checkpointId !== null) {
    if (outcome.phase === "Completed" && operation.kind === "failover-test" && decision.success === true) {
      const tag = `Tested at ${new Date(operation.createdAt).toISOString()}`;
      await annotate(site, operation.vpgId, operation.checkpointId, operationId, tag);
    }
    await letGoOfOthers(site, operationId);
    if (nothingAttached(operation)) {
      const leasedUntil = scratchLeases(operation, site.clock.now()).get(operation.checkpointId);
      await letGo(site, operation.vpgId, operation.checkpointId, operationId, leasedUntil);
    }
  }
  const vpg = await vpgOf(site, operation);
  const { vpgId, checkpointId } = operation;
  const facts = {
    decision,
    recovered: await recoveredOf(site, operation, vpg),
    checkpointTags: checkpointId === null ? undefined : await findTags(site, vpgId, checkpointId),
  };
  const follows = await following(site, operation, vpg, outcome, decision);
  const noted = follows === undefined ? operation : await noteFollowing(site, operation, follows);
  const report = await storeReport(site, reportOf(site, vpg, noted, outcome, facts));
  return release(site, noted, report, typeof follows === "object" ? follows : undefined);
}

/** The reverse protection that was asked for, with or by the commit; why there is none; undefined when nobody asked. */
async function following(
  site: Site,
  operation: Operation,
  vpg: VpgRecord,
  { phase }: Outcome,
  { reverseProtection }: Decision,
): Promise<Operation | string | undefined> {
  const asked = reverseProtection ?? operation.live?.reverseProtection ?? operation.move?.reverseProtection ?? false;
  if (!asked || phase !== "Completed" || vpg.role !== "Runs") return undefined;
  return followingReverse(site, operation, vpg);
}

async function noteFollowing(
  site: Site,
  { operationId }: Operation,
  follows: Operation | string,
): Promise<OperationRecord> {
  const begins = typeof follows === "object";
  const result = begins ? "Begins now, as an operation of its own." : `Not begun: ${follows}`;
  return changeOperation(site, operationId, ({ steps }) => {
    if (steps[stepNames.reverseProtection] !== undefined) return undefined;
    const step = endedStep(undefined, site.clock.now(), { state: begins ? "done" : "skipped", result });
    return { change: { steps: { ...steps, [stepNames.reverseProtection]: step } } };
  });
}

/** Nothing was decided and nothing is undone; a gateway that waits to be told what is wanted is told to go on. */
async function endSync(site: Site, operation: OperationRecord): Promise<{ readonly phase: Phase }> {
  if (operation.steps[stepNames.hashVolumes] !== undefined && operation.steps[stepNames.shipWanted] === undefined) {
    await issueStep(site, operation.operationId, stepNames.shipWanted);
  }
  const vpg = await vpgOf(site, operation);
  const facts = { decision: undefined, recovered: vpg.definition, checkpointTags: undefined };
  const report = await storeReport(site, reportOf(site, vpg, operation, syncOutcome(operation), facts));
  return release(site, operation, report);
}

/** A commit that was decided is carried as far as the seals, so that no failed operation leaves the authority open. */
async function completeMint(site: Site, operation: OperationRecord): Promise<Operation["error"]> {
  try {
    const { n } = await ensureMinted(site, operation);
    if (!stepOk(operation, stepNames.sealSessions)) await sealOldSessions(site, operation, n);
    return null;
  } catch (error) {
    if (!(error instanceof FarshoreError) || isRetryable(error) || error.kind === "conflict") throw error;
    return { name: error.name, message: error.message };
  }
}

/** How the operation ended, by its decision and the records of its steps. */
export function outcomeOf(operation: Operation, decision: Decision, unminted: Operation["error"] = null): Outcome {
  const { operationId, kind, vpgName } = operation;
  if (decision.decision === "commit") {
    const steps = commitStepsOf(operation);
    if (steps.every((step) => stepOk(operation, step))) return { phase: "Completed", error: null };
    const error = unminted ?? failedStep(operation, steps);
    const next = `${vpgName} runs here but is not complete: farshore operation retry ${operationId} goes on`;
    return { phase: "Failed", error: withNext(error, next) };
  }
  const open = undoStepsOf(operation).filter((step) => !stepOk(operation, step));
  if (open.length > 0) {
    const error = operation.error ?? failedStep(operation, undoStepsOf(operation));
    const next =
      `not undone: ${open.join(", ")}; see that no recovered VM runs, then ` +
      `farshore operation retry ${operationId} goes on`;
    return { phase: "Failed", error: withNext(error, next) };
  }
  if (operation.error !== null) {
    const verb = kind === "move" ? "move start" : kind === "failover-live" ? "failover live" : "failover test start";
    const next = `everything is undone; farshore ${verb} ${vpgName} starts again`;
    return { phase: "Failed", error: withNext(operation.error, next) };
  }
  return { phase: isLive(operation) ? "RolledBack" : "Completed", error: null };
}

/** How a reverse protection ended: with the journal at the peer, alone, taken back, or half way. */
export function reverseOutcomeOf(operation: Operation, { decision }: Decision): Outcome {
  const { operationId, vpgName } = operation;
  if (stepOk(operation, stepNames.endAlone)) return { phase: "RolledBack", error: null };
  if (stepOk(operation, stepNames.awaitJournal)) return { phase: "Completed", error: null };
  if (decision === "commit") {
    const error = failedStep(operation, commitStepsOf(operation));
    const next = `${vpgName} runs here and has no journal yet: farshore operation retry ${operationId} goes on`;
    return { phase: "Failed", error: withNext(error, next) };
  }
  if (!stepOk(operation, stepNames.withdrawOffer)) {
    const error = operation.error ?? failedStep(operation, undoStepsOf(operation));
    return { phase: "Failed", error: withNext(error, `farshore operation retry ${operationId} takes the offer back`) };
  }
  if (operation.error === null) return { phase: "RolledBack", error: null };
  const next = `the offer is taken back; farshore reverse-protection start ${vpgName} starts again`;
  return { phase: "Failed", error: withNext(operation.error, next) };
}

function failedStep(operation: Operation, steps: readonly string[]): NonNullable<Operation["error"]> {
  for (const name of steps) {
    const step = operation.steps[name];
    if (isOver(step) && step.error !== null) return step.error;
  }
  return { name: "Transient", message: "the workflow ended before its work was done" };
}

/** Ends the record and frees the VPG in one transaction. */
async function release(
  site: Site,
  seen: OperationRecord,
  end: Outcome & { readonly endedAt: number },
  next?: Operation,
): Promise<{ readonly phase: Phase }> {
  const { operationId, vpgId, kind } = seen;
  for (let attempt = 0; attempt < limits.writeAttemptsMax; attempt += 1) {
    const operation = await getOperation(site, operationId);
    if (hasEnded(operation)) return { phase: operation.phase };
    const vpg = await vpgOf(site, operation);
    const { phase, error, endedAt } = end;
    const fields = operationFields({ ...operation, phase, error, endedAt, tokens: {} });
    try {
      const freed = releaseOf(vpg, operation, phase);
      const held = next === undefined ? freed : { ...freed, operationId: next.operationId };
      await updateVpg(site, vpg, held, [
        { put: items.operation(operationId), fields, if: { rev: operation.rev } },
        { put: items.operationIndex(operationId), fields: { vpgId, kind, open: false } },
        ...(next === undefined ? [] : operationActions(next)),
      ]);
    } catch (failure) {
      if (!(failure instanceof ConditionFailed)) throw failure;
      continue;
    }
    site.log.info("operation-ended", { operationId, vpgId, phase, error: error?.name ?? null });
    // Killed before this, the reconciler starts it.
    if (next !== undefined) await startExecution(site, next);
    return { phase };
  }
  throw new Transient(`${seen.vpgName} is being changed by others`);
}

function releaseOf(vpg: VpgRecord, operation: Operation, phase: Phase): Partial<VpgRecord> {
  const { kind, operationId, sourceLeftOff } = operation;
  if (kind === "delta-sync") return vpg.syncOperationId === operationId ? { syncOperationId: null } : {};
  if (kind === "failover-test") return { openTests: vpg.openTests.filter((open) => open !== operationId) };
  if (vpg.operationId !== operationId) return {};
  // Once another term has begun nothing of the old source is to run again.
  if (vpg.role !== "Journal") return { operationId: null, powerOnDue: [] };
  const due = sourceLeftOff
    ? [operationId, ...vpg.powerOnDue.filter((other) => other !== operationId)]
    : vpg.powerOnDue;
  const freed = { operationId: null, powerOnDue: due.slice(0, limits.powerOnsDueMax) };
  const standing = leftStanding(operation, phase);
  return standing === undefined ? freed : { ...freed, forgotten: [...vpg.forgotten, standing] };
}
