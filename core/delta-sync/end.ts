import type { Id } from "#core/ids.ts";
import type { Operation } from "#core/protection/operation.ts";
import { withNext } from "#core/recovery/next-verb.ts";
import { changeOperation } from "#core/recovery/operation-store.ts";
import type { Outcome } from "#core/recovery/report.ts";
import { isOver, stepNames, stepOk } from "#core/recovery/steps.ts";
import type { Site } from "#core/site.ts";

/** How a delta-sync ended, by the records of its steps. There is nothing to undo: what its gateways compared is right without it. */
export function syncOutcome(operation: Operation): Outcome {
  if (stepOk(operation, stepNames.verifySync)) return { phase: "Completed", error: null };
  const failed = Object.values(operation.steps).find((step) => isOver(step) && step.error !== null)?.error;
  const error = operation.error ??
    failed ?? { name: "Transient", message: "the workflow ended before its work was done" };
  const next =
    `the gateway goes on comparing by itself (farshore vpg show); ` +
    `farshore sync ${operation.vpgName} compares everything again`;
  return { phase: "Failed", error: withNext(error, next) };
}

/** Task record-failure of a delta-sync: notes its first error. */
export async function recordSyncFailure(
  site: Site,
  operationId: Id,
  error: NonNullable<Operation["error"]>,
): Promise<void> {
  await changeOperation(site, operationId, (record) => (record.error === null ? { change: { error } } : undefined));
}
