import type { RetargetAsk } from "#core/api/site-api.ts";
import { AlreadyDecided, InvalidInput, LimitExceeded, NotBeforeCommit } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { pinAction, resolveCheckpoint, unpinAction } from "#core/protection/checkpoints.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { Operation, Retarget, Step } from "#core/protection/operation.ts";
import { tryAgain } from "#core/protection/try-again.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { findDecision, wakeDecision } from "./decide.ts";
import { changeOperation, getOperation, type OperationChange, operationFields } from "./operation-store.ts";
import { checkpointOf } from "./plan-command.ts";
import { scratchLeases } from "./scratch-leases.ts";
import { assertStepFits, bootGroupOf, endedStep, isLeaving, retargetSteps, stepNames } from "./steps.ts";

/**
 * Asks for another checkpoint before the commit (0017). The try is recorded, and its checkpoint pinned, in one transaction that
 * requires that nothing is decided; a decision requires the phase that this changes. So of a decision and a retarget that
 * meet one is refused. The same request again answers with the operation as it is.
 * Throws `InvalidInput` (not a live failover), `AlreadyDecided`, `NotBeforeCommit`, `LimitExceeded`, `NoCheckpoint`, `AmbiguousCheckpoint`.
 */
export async function retarget(site: Site, caller: Caller, operationId: Id, ask: RetargetAsk): Promise<Operation> {
  const asked = await tryAgain(`operation ${operationId}`, async () => {
    const operation = await getOperation(site, operationId);
    if (operation.retargets.some(({ requestId }) => requestId === ask.requestId)) return operation;
    await assertMayRetarget(site, operation);
    const { vpgId } = operation;
    const { id, time } = await resolveCheckpoint(site, vpgId, ask.checkpoint);
    const next = withTry(operation, {
      number: (operation.retargets.at(-1)?.number ?? 1) + 1,
      requestId: ask.requestId,
      ...{ checkpointId: id, checkpointTime: time, by: callerText(caller), at: site.clock.now() },
      from: { checkpointId: checkpointOf(operation), checkpointTime: operation.checkpointTime ?? time },
      ...{ switchedAt: null, rtoMs: null, error: null },
    });
    await site.table.transact([
      { put: items.operation(operationId), fields: operationFields(next), if: { rev: operation.rev } },
      { check: items.decision(operationId), if: { absent: true } },
      ...(await pinAction(site, vpgId, id, operationId)),
    ]);
    site.log.info("operation-retargeted", { operationId, vpgId, checkpoint: id, initiatedBy: callerText(caller) });
    return next;
  });
  if (isLeaving(asked)) await wakeDecision(site, operationId);
  return asked;
}

async function assertMayRetarget(site: Site, { operationId, kind, phase, retargets }: Operation): Promise<void> {
  if (kind !== "failover-live") {
    throw new InvalidInput(`operation ${operationId} is a ${kind}: only a live failover takes another checkpoint`, {
      operationId,
    });
  }
  const decision = await findDecision(site, operationId);
  if (decision !== undefined) {
    throw new AlreadyDecided(`operation ${operationId} was decided: ${decision.decision} by ${decision.by}`, {
      operationId,
      decision: decision.decision,
    });
  }
  if (phase !== "BeforeCommit" && phase !== "RetargetFailed") {
    throw new NotBeforeCommit(`operation ${operationId} is ${phase}; it takes another checkpoint before its commit`, {
      operationId,
      phase,
    });
  }
  if (retargets.length >= limits.retargetsMax) {
    throw new LimitExceeded(
      `operation ${operationId} was retargeted ${retargets.length} times; commit it, or roll it back and start another`,
      { operationId },
    );
  }
}

/** The operation with one more try under way; what the try before was waiting for, or failed at, is put aside. */
function withTry(operation: Operation, asked: Retarget): Operation {
  const before = asked.number - 1;
  const steps = setAside(operation.steps, before, (name) => retargetSteps.includes(name));
  const { [stepNames.decision]: decision, ...others } = steps;
  const result = `Another checkpoint, ${asked.checkpointId}, asked for by ${asked.by}.`;
  const over = { [`${stepNames.decision}.try-${before}`]: endedStep(decision, asked.at, { state: "done", result }) };
  return {
    ...operation,
    phase: "Retargeting",
    retargets: [...operation.retargets, asked],
    steps: { ...others, ...over },
  };
}

/** Steps of a try under names of its own, so that the next one does them anew. */
function setAside(steps: Operation["steps"], number: number, belongs: (name: string) => boolean): Record<string, Step> {
  return Object.fromEntries(
    Object.entries(steps).map(([name, step]) => [belongs(name) ? `${name}.try-${number}` : name, step]),
  );
}

/**
 * Task switch-checkpoint: the volumes of before are detached, so the operation's checkpoint is the asked one from here on, and
 * what the operation no longer needs loses its pin. Safe to repeat.
 */
export async function switchCheckpoint(site: Site, operationId: Id): Promise<void> {
  await changeOperation(site, operationId, (record): OperationChange | undefined => {
    const asked = record.retargets.at(-1);
    if (asked === undefined || asked.switchedAt !== null) return undefined;
    assertStepFits(record, stepNames.switchCheckpoint);
    const now = site.clock.now();
    const left = record.retargets.findLast(({ switchedAt }) => switchedAt !== null)?.number ?? 1;
    const ofLeft = setAside(record.steps, left, (name) => name === stepNames.attachVolumes || isBoot(name));
    const steps = setAside(ofLeft, asked.number, (name) => retargetSteps.includes(name));
    const result = `Checkpoint ${asked.checkpointId} instead of ${asked.from.checkpointId}.`;
    const { checkpointId, checkpointTime } = asked;
    return {
      change: {
        ...{ checkpointId, checkpointTime, exports: {}, bootGroupsDone: 0 },
        retargets: withLast(record, { switchedAt: now }),
        steps: {
          ...steps,
          [`${stepNames.switchCheckpoint}.try-${asked.number}`]: endedStep(undefined, now, { state: "done", result }),
        },
      },
    };
  });
  await letGoOfOthers(site, operationId);
}

const isBoot = (name: string): boolean => bootGroupOf(name) !== undefined;

const withLast = ({ retargets }: Operation, change: Partial<Retarget>): Retarget[] =>
  retargets.map((one, index) => (index === retargets.length - 1 ? { ...one, ...change } : one));

/**
 * Drops the operation's pins on every checkpoint but its own, or makes a lease of one over which a scratch is kept; each only
 * while the operation is as it was seen.
 */
export async function letGoOfOthers(site: Site, operationId: Id): Promise<void> {
  await tryAgain(`operation ${operationId}`, async () => {
    const operation = await getOperation(site, operationId);
    const same = { check: items.operation(operationId), if: { rev: operation.rev } };
    const leases = scratchLeases(operation, site.clock.now());
    for (const id of otherCheckpoints(operation)) {
      const actions = await unpinAction(site, operation.vpgId, id, operationId, leases.get(id));
      if (actions.length > 0) await site.table.transact([...actions, same]);
    }
  });
}

function otherCheckpoints({ checkpointId, retargets }: Operation): readonly string[] {
  const known = new Set(retargets.flatMap((one) => [one.from.checkpointId, one.checkpointId]));
  return [...known].filter((id) => id !== checkpointId);
}

/** The operation is up at its new checkpoint. */
export function retargetReached(operation: Operation, now: number): Pick<Operation, "retargets"> | object {
  const last = operation.retargets.at(-1);
  return last === undefined ? {} : { retargets: withLast(operation, { rtoMs: now - last.at }) };
}

/**
 * Notes that the retarget under way failed: the operation then waits for a person, since undoing everything is not what was
 * asked for. False when no retarget was under way; true again when asked again, until the wait has begun.
 */
export async function failRetarget(
  site: Site,
  operationId: Id,
  error: NonNullable<Retarget["error"]>,
): Promise<boolean> {
  if ((await findDecision(site, operationId)) !== undefined) return false;
  const record = await changeOperation(site, operationId, (operation): OperationChange | undefined =>
    operation.phase === "Retargeting"
      ? { change: { phase: "RetargetFailed", retargets: withLast(operation, { error }) } }
      : undefined,
  );
  return record.phase === "RetargetFailed" && record.steps[stepNames.decision] === undefined;
}
