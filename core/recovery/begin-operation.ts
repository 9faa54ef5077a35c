import type { Id } from "#core/ids.ts";
import { pinCheckpoint, resolveCheckpoint } from "#core/protection/checkpoints.ts";
import type { Site } from "#core/site.ts";
import { noteBegun } from "./begun-operation.ts";
import { findDecision } from "./decide.ts";
import { changeOperation, getOperation } from "./operation-store.ts";
import { checkpointOf } from "./plan-command.ts";
import { enterDecided, type Route } from "./route.ts";
import { runStep, stepNames } from "./steps.ts";

/**
 * Task begin-operation: notes in the bucket that a live operation begins, before anything is touched, and pins the checkpoint that was found at the start ("latest" is only looked up later). A later attempt
 * goes on where the decision leads.
 */
export async function beginOperation(site: Site, operationId: Id): Promise<Route> {
  const operation = await getOperation(site, operationId);
  if (operation.kind === "delta-sync") return "recover";
  await noteBegun(site, operation);
  const decision = await findDecision(site, operationId);
  if (decision !== undefined) return enterDecided(site, operationId, decision);
  const { vpgId, checkpointId } = operation;
  if (checkpointId !== null) await pinCheckpoint(site, vpgId, checkpointId, operationId);
  return "recover";
}

/**
 * Task resolve-checkpoint: "latest" means the latest after the source's shutdown, so it is looked up here; every other choice
 * stays what it was at the start. It is recorded before it is pinned, so that nothing is pinned that the end wouldn't let go;
 * the newest checkpoint is never thinned in between.
 */
export async function settleCheckpoint(site: Site, operationId: Id): Promise<void> {
  await runStep(site, operationId, stepNames.resolveCheckpoint, async (operation) => {
    const { vpgId } = operation;
    const latest = operation.checkpointId === null;
    const settled = latest
      ? await recordLatest(site, operation.vpgId, operationId)
      : { checkpointId: checkpointOf(operation) };
    await pinCheckpoint(site, vpgId, settled.checkpointId, operationId);
    return { result: `Checkpoint ${settled.checkpointId}${latest ? ", the latest" : ""}.` };
  });
}

async function recordLatest(site: Site, vpgId: Id, operationId: Id): Promise<{ readonly checkpointId: string }> {
  const found = await resolveCheckpoint(site, vpgId, { kind: "latest" });
  const recorded = await changeOperation(site, operationId, (record) =>
    record.checkpointId === null ? { change: { checkpointId: found.id, checkpointTime: found.time } } : undefined,
  );
  return { checkpointId: checkpointOf(recorded) };
}
