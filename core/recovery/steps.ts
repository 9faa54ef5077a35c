import { AlreadyDecided, errorFromWire, FarshoreError } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { isLive, type Operation, openVolumesStep, type Phase, type Step } from "#core/protection/operation.ts";
import type { Site } from "#core/site.ts";
import { changeOperation, getOperation, type OperationChange, type OperationRecord } from "./operation-store.ts";

/** The steps of an operation by name, as its record and report show them. A boot group's step carries its number. */
export const stepNames = {
  resolveCheckpoint: "resolve-checkpoint",
  shutdownSource: "shutdown-source",
  attachVolumes: "attach-volumes",
  bootGroup: (bootGroup: number): string => `boot-group-${bootGroup}`,
  decision: "decision",
  retargetStopVms: "retarget-stop-vms",
  retargetDetachVolumes: "retarget-detach-volumes",
  switchCheckpoint: "switch-checkpoint",
  mintTerm: "mint-term",
  sealSessions: "seal-sessions",
  promoteVolumes: "promote-volumes",
  stopVms: "stop-vms",
  detachVolumes: "detach-volumes",
  powerOnSource: "power-on-source",
  closeVolumes: "close-volumes",
  proveFinal: "prove-final",
  verifyVolumes: "verify-volumes",
  openVolumes: openVolumesStep,
  removeSource: "remove-source",
  hashVolumes: "hash-volumes",
  comparePages: "compare-pages",
  shipWanted: "ship-wanted",
  verifySync: "verify-sync",
  offerTerm: "offer-term",
  startTerm: "start-term",
  protectVolumes: "protect-volumes",
  awaitJournal: "await-journal",
  /** `--force`: the term whose journal was lost is ended. */
  endAlone: "end-term-alone",
  withdrawOffer: "withdraw-offer",
  /** Of a committed operation: what follows it. */
  reverseProtection: "reverse-protection",
} as const;

const undoOfTest: readonly string[] = [stepNames.stopVms, stepNames.detachVolumes];
const undoOfLive: readonly string[] = [...undoOfTest, stepNames.powerOnSource];
const undoOfMove: readonly string[] = [...undoOfTest, stepNames.openVolumes, stepNames.powerOnSource];
const undoOfReverse: readonly string[] = [stepNames.withdrawOffer];

/** What undoes a recovery, in this order: nothing is powered on at the source while recovered VMs may still run. */
export function undoStepsOf({ kind }: Pick<Operation, "kind">): readonly string[] {
  if (kind === "delta-sync") return [];
  if (kind === "reverse-protection") return undoOfReverse;
  if (kind === "move") return undoOfMove;
  return kind === "failover-live" ? undoOfLive : undoOfTest;
}

const commitSteps: readonly string[] = [stepNames.mintTerm, stepNames.sealSessions, stepNames.promoteVolumes];
const commitOfMove: readonly string[] = [...commitSteps, stepNames.removeSource];
/** From the start of the offered term on a reverse protection is only ever completed. */
const commitOfReverse: readonly string[] = [stepNames.startTerm, stepNames.protectVolumes, stepNames.awaitJournal];

/** What leads from one checkpoint to another, before the volumes are attached there. */
export const retargetSteps: readonly string[] = [
  stepNames.retargetStopVms,
  stepNames.retargetDetachVolumes,
  stepNames.switchCheckpoint,
];

/** What carries a commit out, in this order. */
export function commitStepsOf({ kind }: Pick<Operation, "kind">): readonly string[] {
  if (kind === "reverse-protection") return commitOfReverse;
  return kind === "move" ? commitOfMove : commitSteps;
}

/** The number in a boot group's step name, undefined for any other step. */
export function bootGroupOf(step: string): number | undefined {
  const digits = /^boot-group-(\d+)$/.exec(step)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** The phase that an operation is in while the step runs. */
export function phaseOf(operation: Operation, step: string): Phase {
  if (step === stepNames.hashVolumes) return "HashingVolumes";
  if (step === stepNames.comparePages) return "ComparingPages";
  if (step === stepNames.shipWanted) return "ShippingWanted";
  if (step === stepNames.verifySync) return "VerifyingSync";
  if (step === stepNames.offerTerm) return "Offering";
  if (commitOfReverse.includes(step)) return "Protecting";
  if (step === stepNames.withdrawOffer) return "Withdrawing";
  if (step === stepNames.shutdownSource) return "ShuttingDownSource";
  // One phase up to the next BeforeCommit: whoever asks whether recovered VMs may run is told that they may.
  if (operation.phase === "Retargeting" && isRecovery(step)) return "Retargeting";
  if (step === stepNames.closeVolumes) return "ClosingVolumes";
  if (step === stepNames.proveFinal || step === stepNames.verifyVolumes) return "ProvingFinal";
  if (bootGroupOf(step) !== undefined) return "Booting";
  if (step === stepNames.promoteVolumes || step === stepNames.removeSource) return "Promoting";
  if (commitSteps.includes(step)) return "Committing";
  if (undoOfMove.includes(step)) return undoPhase(operation);
  if (retargetSteps.includes(step)) return "Retargeting";
  return "AttachingVolumes";
}

export function undoPhase(operation: Pick<Operation, "kind">): Phase {
  if (operation.kind === "reverse-protection") return "Withdrawing";
  return isLive(operation) ? "RollingBack" : "TestStopping";
}

const isRecovery = (step: string): boolean => step === stepNames.attachVolumes || bootGroupOf(step) !== undefined;

/** Where an operation is once its commit was decided. */
export const commitPhase = ({ kind }: Pick<Operation, "kind">): Phase =>
  kind === "reverse-protection" ? "Protecting" : "Committing";

type Direction = "recover" | "decide" | "commit" | "undo";

function directionOf(phase: Phase): Direction | undefined {
  switch (phase) {
    case "Starting":
    case "ShuttingDownSource":
    case "ClosingVolumes":
    case "ProvingFinal":
    case "AttachingVolumes":
    case "Booting":
    case "Retargeting":
    case "Offering":
      return "recover";
    case "BeforeCommit":
    case "RetargetFailed":
    case "TestRunning":
      return "decide";
    case "Committing":
    case "Promoting":
    case "Protecting":
      return "commit";
    case "RollingBack":
    case "TestStopping":
    case "Withdrawing":
      return "undo";
    case "HashingVolumes":
    case "ComparingPages":
    case "ShippingWanted":
    case "VerifyingSync":
      return "recover";
    case "Completed":
    case "RolledBack":
    case "Failed":
      return undefined;
  }
}

/**
 * Refuses a step that goes another way than the operation does: a task that was on its way when its execution was stopped
 * must not attach or boot anything while the operation is being undone or goes to another checkpoint.
 */
export function assertStepFits(operation: Operation, step: string): void {
  if (fits(operation, step)) return;
  throw new AlreadyDecided(`operation ${operation.operationId} is ${operation.phase}: ${step} is not done any more`, {
    step,
  });
}

/** A retarget is under way and the volumes of before may still be attached. */
export const isLeaving = ({ phase, retargets }: Operation): boolean =>
  phase === "Retargeting" && retargets.at(-1)?.switchedAt === null;

function fits(operation: Operation, step: string): boolean {
  const direction = directionOf(operation.phase);
  if (commitOfMove.includes(step) || commitOfReverse.includes(step)) return direction === "commit";
  if (undoOfMove.includes(step) || undoOfReverse.includes(step)) return direction === "undo";
  const leaving = isLeaving(operation);
  if (retargetSteps.includes(step) || leaving) return leaving && retargetSteps.includes(step);
  if (bootGroupOf(step) !== undefined && !stepOk(operation, stepNames.attachVolumes)) return false;
  return direction === "recover";
}

export const isOver = (step: Step | undefined): step is Step => step !== undefined && step.state !== "running";

export const stepOk = (operation: Operation, name: string): boolean => {
  const state = operation.steps[name]?.state;
  return state === "done" || state === "skipped";
};

/** Throws the error again that ended the step, by its name. */
export function throwIfFailed(step: Step): void {
  if (step.error !== null) throw errorFromWire(step.error.name, step.error.message);
}

export function startedStep(now: number): Step {
  return { state: "running", startedAt: now, endedAt: null, result: "", error: null };
}

export function endedStep(step: Step | undefined, now: number, end: Partial<Step>): Step {
  return { ...startedStep(now), ...step, endedAt: now, ...end };
}

/** The change that records a step's end and drops its token. */
export function endStep(operation: Operation, name: string, step: Step): Pick<Operation, "steps" | "tokens"> {
  const { [name]: _, ...tokens } = operation.tokens;
  return { steps: { ...operation.steps, [name]: step }, tokens };
}

/**
 * Does `work` unless the step's record says it is done, and records its times and result. Safe to repeat when `work` is.
 * An error that trying again may mend leaves the step running; any other one is recorded and thrown.
 */
export async function runStep(
  site: Site,
  operationId: Id,
  name: string,
  work: (operation: OperationRecord) => Promise<{ readonly result: string; readonly change?: Partial<Operation> }>,
): Promise<void> {
  const operation = await getOperation(site, operationId);
  if (stepOk(operation, name)) return;
  const started = await changeOperation(site, operationId, (record): OperationChange => {
    assertStepFits(record, name);
    const step = startedStep(record.steps[name]?.startedAt ?? site.clock.now());
    return { change: { phase: phaseOf(record, name), steps: { ...record.steps, [name]: step } } };
  });
  try {
    const { result, change } = await work(started);
    await changeOperation(site, operationId, (record): OperationChange => {
      const step = endedStep(record.steps[name], site.clock.now(), { state: "done", result });
      return { change: { ...change, ...endStep(record, name, step) } };
    });
  } catch (error) {
    if (!(error instanceof FarshoreError) || error.kind === "retryable" || error.kind === "conflict") throw error;
    await changeOperation(site, operationId, (record): OperationChange => {
      const failed = { state: "failed" as const, error: { name: error.name, message: error.message } };
      return { change: endStep(record, name, endedStep(record.steps[name], site.clock.now(), failed)) };
    });
    throw error;
  }
}
