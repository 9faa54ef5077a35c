import type { Alert } from "#core/api/trigger-api.ts";
import { recordSyncFailure } from "#core/delta-sync/end.ts";
import type { Id } from "#core/ids.ts";
import { wake } from "#core/protection/commands.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { type Decision, isLive, type Operation, type Phase, policyOf } from "#core/protection/operation.ts";
import { alertOn } from "#core/protection/vpg-alerts.ts";
import type { Site } from "#core/site.ts";
import { formatDuration } from "#core/units.ts";
import { deciders, findDecision, followsFailure, settleDecision, undoDecision } from "./decide.ts";
import { recoveryLimits } from "./limits.ts";
import { changeOperation, getOperation, type OperationChange } from "./operation-store.ts";
import { failRetarget, retargetReached } from "./retarget.ts";
import { commitPhase, endedStep, endStep, isLeaving, startedStep, stepNames, undoPhase } from "./steps.ts";

/**
 * Where a workflow goes next: bring the volumes and VMs up, look at what is decided, wait for a decision, go to another
 * checkpoint, carry a commit out, or undo everything.
 */
export type Route = "recover" | "decide" | "wait" | "retarget" | "commit" | "undo";

/** What people may see of an operation is enough. */
type Told = Omit<Operation, "tokens">;

/** Longest time a decision waits, by the policy: after it the policy decides. */
export interface Deadline {
  readonly at: number;
  readonly decision: Omit<Decision, "at">;
}

/**
 * What happens when nobody decides. Without a policy a failover waits 30 days and is then rolled back: nobody said that the
 * source may be given up, and rollback leaves protection as it was. A retarget gives the policy its whole time again, for what
 * it recovered was not looked at yet; but nothing waits for more than 30 days in all. What failed to be retargeted is never
 * committed by a policy.
 */
export function deadlineOf(operation: Told, openedAt: number): Deadline {
  const bound = firstOpened(operation, openedAt) + limits.commitWaitMsMax;
  const base = { success: null, by: deciders.policy };
  if (operation.kind === "failover-test") {
    const notes = `nobody stopped the test within ${formatDuration(limits.commitWaitMsMax)}`;
    return { at: bound, decision: { ...base, decision: "stop", notes } };
  }
  const policy = policyOf(operation);
  if (policy.action === "none" || (policy.action === "commit" && operation.phase === "RetargetFailed")) {
    const notes = `nobody decided within ${formatDuration(limits.commitWaitMsMax)}`;
    return { at: bound, decision: { ...base, decision: "rollback", notes } };
  }
  const notes = `nobody decided within ${formatDuration(policy.afterMs)}`;
  const at = Math.min(openedAt + policy.afterMs, bound);
  return { at, decision: { ...base, decision: policy.action, notes } };
}

/** The alert of a live operation that has waited for a person for long: what its policy decides soon needs none. */
export function decisionAlert(operation: Told, now: number): Alert | undefined {
  const wait = operation.steps[stepNames.decision];
  if (!isLive(operation) || wait?.state !== "running") return undefined;
  const failed = operation.phase === "RetargetFailed";
  if (!failed && (operation.phase !== "BeforeCommit" || policyOf(operation).action !== "none")) return undefined;
  const waitedMs = now - wait.startedAt;
  if (waitedMs < recoveryLimits.decisionAlertMs) return undefined;
  const { at, decision } = deadlineOf(operation, wait.startedAt);
  const command = operation.kind === "move" ? "move" : "failover";
  const asks = failed ? "its retarget failed; retarget again or roll back" : "commit it or roll it back";
  const text = `${command} ${operation.operationId} has waited for ${formatDuration(waitedMs)}: ${asks}; ${decision.decision} by itself in ${formatDuration(Math.max(0, at - now))}`;
  return alertOn("decision-waits", operation.vpgName, text);
}

/** When the operation first waited for a decision: a retarget puts the wait before it aside. */
function firstOpened({ steps }: Told, openedAt: number): number {
  const waits = Object.entries(steps).filter(([name]) => name.startsWith(`${stepNames.decision}.`));
  return Math.min(openedAt, ...waits.map(([, { startedAt }]) => startedAt));
}

/**
 * Task read-decision: opens the time for a decision, once, and answers where to go. By the deadline it decides itself, through
 * the same create-if-absent. While it waits, each round leaves a reminder. `waitSeconds` is 1 to a day.
 */
export async function readDecision(
  site: Site,
  operationId: Id,
): Promise<{ readonly route: Route; readonly waitSeconds: number }> {
  const now = site.clock.now();
  const open = await openDecision(site, operationId, now);
  const known = await findDecision(site, operationId);
  if (known === undefined && isLeaving(open)) return { route: "retarget", waitSeconds: 1 };
  const deadline = deadlineOf(open, open.steps[stepNames.decision]?.startedAt ?? now);
  if (known === undefined && now < deadline.at) {
    const rest = deadline.at - now;
    const waitSeconds = Math.ceil(Math.min(rest, recoveryLimits.decisionRoundMs) / 1000);
    const { decision } = deadline.decision;
    site.log.info("decision-awaited", { operationId, vpg: open.vpgName, decision, decidedInMs: rest });
    return { route: "wait", waitSeconds };
  }
  // A person may have asked for another checkpoint since: then the policy's time is not up.
  const same = { check: items.operation(operationId), if: { equals: { phase: open.phase } } };
  const decision = await settleDecision(site, open, deadline.decision, [same]);
  return { route: await enterDecided(site, operationId, decision), waitSeconds: 1 };
}

async function openDecision(site: Site, operationId: Id, now: number): Promise<Operation> {
  return changeOperation(site, operationId, (record): OperationChange | undefined => {
    if (record.steps[stepNames.decision] !== undefined || isLeaving(record)) return undefined;
    const steps = { ...record.steps, [stepNames.decision]: startedStep(now) };
    if (record.phase === "RetargetFailed") return { change: { steps } };
    const phase: Phase = isLive(record) ? "BeforeCommit" : "TestRunning";
    const rtoMs = record.rtoMs ?? now - record.createdAt;
    return { change: { phase, steps, rtoMs, ...retargetReached(record, now) } };
  });
}

/** Task await-decision: keeps the token that a decision or a retarget wakes; answers it here when that came before. */
export async function awaitDecision(site: Site, operationId: Id, token: string): Promise<void> {
  const waiting = await changeOperation(site, operationId, (record) => ({
    change: { tokens: { ...record.tokens, [stepNames.decision]: token } },
  }));
  if ((await findDecision(site, operationId)) !== undefined || isLeaving(waiting)) {
    await wake(() => site.workflows.succeed(token, "{}"));
  }
}

/**
 * Takes the operation onto the way that was decided; from here on no step of another way is done. Answers the route.
 */
export async function enterDecided(site: Site, operationId: Id, decision: Decision): Promise<Route> {
  await changeOperation(site, operationId, (record): OperationChange | undefined => {
    const committing = decision.decision === "commit";
    const phase = committing ? commitPhase(record) : undoPhase(record);
    if (record.phase === phase || record.phase === "Promoting") return undefined;
    const result = `${decision.decision} by ${decision.by}${decision.notes === "" ? "" : `: ${decision.notes}`}`;
    const step = endedStep(record.steps[stepNames.decision], site.clock.now(), { state: "done", result });
    return { change: { phase, ...endStep(record, stepNames.decision, step) } };
  });
  return decision.decision === "commit" ? "commit" : "undo";
}

/**
 * Task record-failure: notes the first error of an operation that is not decided yet and decides that it is undone. When a
 * person's decision was first, that is carried out; when a retarget failed, a person is waited for. Safe to repeat.
 */
export async function recordFailure(
  site: Site,
  operationId: Id,
  error: { readonly name: string; readonly message: string },
): Promise<Route> {
  if (await failRetarget(site, operationId, error)) return "decide";
  const operation = await getOperation(site, operationId);
  if (operation.kind === "delta-sync") {
    await recordSyncFailure(site, operationId, error);
    return "undo";
  }
  const decision = await settleDecision(site, operation, {
    decision: undoDecision(operation),
    by: deciders.workflow,
    success: operation.kind === "failover-test" ? false : null,
    notes: `${error.name}: ${error.message}`.slice(0, limits.notesCharactersMax),
  });
  if (!followsFailure(decision)) {
    site.log.warn("failure-after-the-decision", { operationId, error: error.name, decision: decision.decision });
  } else {
    await changeOperation(site, operationId, (record) => (record.error === null ? { change: { error } } : undefined));
  }
  return enterDecided(site, operationId, decision);
}
