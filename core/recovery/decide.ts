import { AlreadyDecided, ConditionFailed, InvalidInput, NotBeforeCommit, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { decisionKey } from "#core/journal/keys.ts";
import { checkStored, jsonBytes, parseStored, tableFields } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import { wake } from "#core/protection/commands.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import {
  type Decision,
  decisionSchema,
  isLive,
  type Operation,
  type Phase,
  removesSeeds,
  removesSeedsText,
} from "#core/protection/operation.ts";
import { assertNotMinted } from "#core/protection/terms.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { getOperation, hasEnded, vpgOf } from "./operation-store.ts";
import { stepNames } from "./steps.ts";

/** What a person asks for; `success` and `notes` belong to the stop of a test. */
export interface DecisionAsk {
  readonly decision: Decision["decision"];
  readonly success?: boolean;
  readonly notes?: string;
  /** With a commit: reverse protection follows. */
  readonly reverseProtection?: boolean;
}

/** Who decides when no person does. */
export const deciders = {
  policy: "system:policy",
  workflow: "system:workflow",
  reconciler: "system:reconciler",
} as const;

/** Whether the decision followed from a failure: then the operation ends as Failed even when all is undone. */
export const followsFailure = ({ by }: Decision): boolean => by === deciders.workflow || by === deciders.reconciler;

export async function findDecision(site: Site, operationId: Id): Promise<Decision | undefined> {
  const item = await site.table.get(items.decision(operationId));
  return item && checkStored(decisionSchema, item.fields, `the decision of operation ${operationId}`);
}

/**
 * R15: commit or rollback of a live failover before its commit, or the stop of a running test. The first decision stands:
 * the same ask again gets the same answer, another one `AlreadyDecided`. Too early, or ended without one: `NotBeforeCommit`.
 * Then the waiting workflow is woken; a lost wake only delays it.
 */
export async function decide(site: Site, caller: Caller, operationId: Id, ask: DecisionAsk): Promise<Decision> {
  const wanted: Decision = {
    decision: ask.decision,
    by: callerText(caller),
    at: site.clock.now(),
    success: ask.success ?? null,
    notes: ask.notes ?? "",
    ...(ask.reverseProtection === undefined ? {} : { reverseProtection: ask.reverseProtection }),
  };
  const made = await decideInPhase(site, operationId, wanted);
  const stands = await storeDecision(site, await getOperation(site, operationId), made);
  if (stands.decision !== wanted.decision || (wanted.success !== null && stands.success !== wanted.success)) {
    throw new AlreadyDecided(
      `operation ${operationId} was decided otherwise: ${stands.decision} by ${stands.by} at ${new Date(stands.at).toISOString()}`,
      { operationId, decision: stands.decision, by: stands.by },
    );
  }
  await wakeDecision(site, operationId);
  return stands;
}

/** An offer may be taken back until its term begins. */
const decidable: readonly Phase[] = ["BeforeCommit", "TestRunning", "Offering"];

async function decideInPhase(site: Site, operationId: Id, wanted: Decision): Promise<Decision> {
  for (let attempt = 0; attempt < limits.writeAttemptsMax; attempt += 1) {
    const operation = await getOperation(site, operationId);
    assertFits(operation, wanted);
    const stands = await findDecision(site, operationId);
    if (stands !== undefined) return stands;
    assertDecidable(operation, wanted);
    const same: TableAction = { check: items.operation(operationId), if: { equals: { phase: operation.phase } } };
    if (await create(site, operation, wanted, [same])) return wanted;
  }
  throw new Transient(`operation ${operationId} is being written by others`);
}

/** What failed to be retargeted may not run at all: it can't be committed, only rolled back or retargeted again. */
function assertDecidable(operation: Operation, { decision }: Decision): void {
  const { operationId, phase, vpgName } = operation;
  if (decidable.includes(phase)) return;
  if (phase === "RetargetFailed" && decision === "rollback") return;
  const next = hasEnded(operation)
    ? "there is nothing left to decide"
    : phase === "RetargetFailed"
      ? `nothing may run that could be committed: farshore failover retarget ${vpgName} --checkpoint ID, or rollback`
      : "wait for it: farshore operation watch";
  throw new NotBeforeCommit(`operation ${operationId} is ${phase}; ${next}`, { operationId, phase });
}

function assertFits(operation: Operation, { decision, reverseProtection }: Decision): void {
  const { kind, operationId, move } = operation;
  if (kind === "delta-sync") throw new InvalidInput(`operation ${operationId} is a delta-sync: nobody decides on it`);
  const reverse = kind === "reverse-protection";
  const fits = reverse ? decision === "rollback" : isLive(operation) ? decision !== "stop" : decision === "stop";
  if (fits && move !== null && removesSeeds({ ...move, reverseProtection: reverseProtection === true })) {
    throw new InvalidInput(removesSeedsText, { operationId });
  }
  if (fits) return;
  const verb = reverse ? "rolled back" : isLive(operation) ? "committed or rolled back" : "stopped";
  throw new InvalidInput(`operation ${operationId} is a ${kind}: it can be ${verb}, not ${decision}`, { operationId });
}

/**
 * The decision as it stands, made now when there is none: by the policy's timer, by the workflow after a failure, or by the
 * reconciler. It is the same create-if-absent as a person's, so of all that race exactly one is carried out. Throws `Transient`
 * when one of the conditions doesn't hold, `TableBehindBucket` when it would undo what was committed.
 */
export async function settleDecision(
  site: Site,
  operation: Operation,
  otherwise: Omit<Decision, "at">,
  conditions: readonly TableAction[] = [],
): Promise<Decision> {
  const wanted = { ...otherwise, at: site.clock.now() };
  const known = await findDecision(site, operation.operationId);
  const made = known === undefined && (await create(site, operation, wanted, conditions));
  const stands = known ?? (made ? wanted : await findDecision(site, operation.operationId));
  if (stands === undefined) throw new Transient(`operation ${operation.operationId} is being written by others`);
  return storeDecision(site, operation, stands);
}

/** What undoes an operation of this kind. */
export const undoDecision = (operation: Operation): "rollback" | "stop" =>
  isLive(operation) || operation.kind === "reverse-protection" ? "rollback" : "stop";

async function create(
  site: Site,
  operation: Operation,
  decision: Decision,
  actions: readonly TableAction[] = [],
): Promise<boolean> {
  const { operationId } = operation;
  if (decision.decision !== "commit") await assertNotMinted(site, await vpgOf(site, operation), operationId);
  try {
    await site.table.transact([
      { put: items.decision(operationId), fields: tableFields(decision), if: { absent: true } },
      ...actions,
    ]);
    return true;
  } catch (error) {
    if (error instanceof ConditionFailed) return false;
    throw error;
  }
}

/**
 * The bucket's copy. The item decides; whoever acts on it writes the copy first, so the bucket knows what was carried out. A copy that
 * says otherwise is of before the table was restored. An undo in it stands, for some of it may be done; a commit may have gone no
 * further than the copy, or its term says so. Answers what stands.
 */
async function storeDecision(site: Site, operation: Operation, decision: Decision): Promise<Decision> {
  const { vpgId, operationId } = operation;
  const key = decisionKey(vpgId, operationId);
  if ((await site.objects.put(key, jsonBytes(decision), { ifAbsent: true })) === "created") return decision;
  const copy = parseStored(decisionSchema, await site.objects.get(key), key);
  if (copy.decision === decision.decision || copy.decision === "commit") return decision;
  await site.table.transact([{ put: items.decision(operationId), fields: tableFields(copy) }]);
  return copy;
}

/** Wakes the machine that waits for the decision, if one does. */
export async function wakeDecision(site: Site, operationId: Id): Promise<void> {
  const token = (await getOperation(site, operationId)).tokens[stepNames.decision];
  if (token !== undefined) await wake(() => site.workflows.succeed(token, "{}"));
}
