import { NoCheckpoint } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { formatPosition, type Position } from "#core/journal/position.ts";
import { type ListedCheckpoint, newestCheckpoint } from "#core/protection/checkpoints.ts";
import { changeOperation, getOperation, type OperationChange } from "#core/recovery/operation-store.ts";
import { assertStepFits, endedStep, endStep, phaseOf, startedStep, stepNames, stepOk } from "#core/recovery/steps.ts";
import type { Site } from "#core/site.ts";
import { formatDuration } from "#core/units.ts";
import { deltaSyncLimits } from "./limits.ts";

/**
 * Task verify-sync: whether this site itself lists a checkpoint behind every source gateway's end of the sync. R12 lets none
 * stand inside one, and it is listed only when every batch before it is here. Throws `NoCheckpoint` when none came in time.
 * Safe to repeat.
 */
export async function verifySync(site: Site, operationId: Id): Promise<{ readonly verified: boolean }> {
  const step = stepNames.verifySync;
  if (stepOk(await getOperation(site, operationId), step)) return { verified: true };
  const operation = await changeOperation(site, operationId, (record): OperationChange | undefined => {
    assertStepFits(record, step);
    if (record.steps[step] !== undefined) return undefined;
    return {
      change: { phase: phaseOf(record, step), steps: { ...record.steps, [step]: startedStep(site.clock.now()) } },
    };
  });
  const ends = operation.syncFigures?.ends ?? [];
  const newest = await newestCheckpoint(site, operation.vpgId);
  if (newest === undefined || !standsBehind(newest, ends)) {
    const waited = site.clock.now() - (operation.steps[step]?.startedAt ?? 0);
    if (waited < deltaSyncLimits.verifyMsMax) return { verified: false };
    throw new NoCheckpoint(
      `no checkpoint behind ${ends.map(formatPosition).join(", ")} was listed within ${formatDuration(waited)}; ` +
        "the session may have ended meanwhile (farshore vpg show)",
    );
  }
  await changeOperation(site, operationId, (record): OperationChange => {
    const result = `Checkpoint ${newest.id} is listed.`;
    const end = endedStep(record.steps[step], site.clock.now(), { state: "done", result });
    const { id: checkpointId, time: checkpointTime } = newest;
    return { change: { checkpointId, checkpointTime, ...endStep(record, step, end) } };
  });
  return { verified: true };
}

/** Whether a checkpoint shows all of what came before each of the ends. A barrier's own place says nothing: its vector names the holds. */
export function standsBehind(
  { position, vector }: Pick<ListedCheckpoint, "position" | "vector">,
  ends: readonly Position[],
): boolean {
  const parts = vector ?? [position];
  return ends.every((end) => parts.some((part) => isBehind(part, end)));
}

const isBehind = (part: Position, end: Position): boolean =>
  part.session === end.session && part.sequence >= end.sequence;
