import { ConditionFailed, FarshoreError, isRetryable, OperationInProgress } from "#core/errors.ts";
import type { Operation } from "#core/protection/operation.ts";
import { tryAgain } from "#core/protection/try-again.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import type { Caller, Site } from "#core/site.ts";
import { closed, type Incident, withNotice } from "./incident.ts";
import { afterClosing } from "./judge.ts";
import { liveOptionsOf } from "./policy.ts";
import { findIncident, putIncident, putWatch, readWatch } from "./store.ts";
import type { Supervised } from "./supervise.ts";

/**
 * Starts the failover of an incident that is ready: the very operation that a person would start, under the incident's own
 * id. One transaction makes it, notes it on the incident and requires that no source gateway was heard since `sight`; so however
 * often and by however many this is tried, there is one operation, and none after the source has recovered.
 */
export async function startIncident(site: Site, supervised: Supervised): Promise<void> {
  const { incident, sight } = supervised;
  if (incident === undefined) return;
  const { incidentId, reason, evidence, approval } = incident;
  const found = await findIncident(site, incidentId);
  if (found === undefined || found.value.state !== "ready") return;
  const caller: Caller = { name: incidentId, role: "trigger", gatewayId: null };
  const approved = approval?.by == null ? [] : [`approved by ${approval.by}: ${approval.notes || "no notes"}`];
  const trigger = {
    incident: {
      incidentId,
      reason,
      evidence: [...evidence, ...sight.seen.map((line) => `at the start: ${line}`), ...approved],
      approval: approvalOf(incident),
    },
    actions: [...putIncident(started(found.value), found), ...sight.stillSilent],
  };
  try {
    const vpg = await getVpg(site, incident.vpgId);
    const options = liveOptionsOf(vpg.definition.trigger);
    await startOperation(site, caller, vpg, { kind: "failover-live", options, requestId: incidentId }, trigger);
  } catch (error) {
    // The source was heard, or somebody wrote the incident: the next look sees what is so now.
    if (error instanceof ConditionFailed || error instanceof OperationInProgress) return;
    if (!(error instanceof FarshoreError) || isRetryable(error)) throw error;
    await refuse(site, incident, supervised.vpg.definition.trigger.coolDownMs, error);
  }
}

function approvalOf({ approval }: Incident): NonNullable<Operation["incident"]>["approval"] {
  if (approval === null || approval.by === null || approval.at === null) return null;
  return { by: approval.by, at: approval.at, notes: approval.notes };
}

function started(incident: Incident): Incident {
  const { incidentId, vpgName, reason } = incident;
  const text = `${vpgName}: failover ${incidentId} was started, because ${reason}`;
  return withNotice({ ...incident, state: "started", waitsFor: null }, "failover-started", text);
}

/** It can't be started, and trying again won't help: a person has to look. */
function refuse(site: Site, { incidentId, vpgId }: Incident, coolDownMs: number, error: FarshoreError): Promise<void> {
  return tryAgain(`incident ${incidentId}`, async () => {
    const found = await findIncident(site, incidentId);
    if (found === undefined || found.value.state !== "ready") return;
    const { value: watch, unchanged } = await readWatch(site, vpgId);
    const now = site.clock.now();
    const over = closed(found.value, "refused", `its failover was refused: ${error.name}: ${error.message}`, now);
    await site.table.transact([
      putWatch(vpgId, afterClosing(watch, over, { now, coolDownMs, heard: false }), unchanged),
      ...putIncident(over, found),
    ]);
    site.log.error("triggered-failover-refused", { incidentId, vpgId, error: error.name, message: error.message });
  });
}

/** Notes why a ready incident has not started, and tells it once. */
export function noteWait(site: Site, { incidentId }: Incident, waitsFor: string): Promise<void> {
  return tryAgain(`incident ${incidentId}`, async () => {
    const found = await findIncident(site, incidentId);
    if (found === undefined || found.value.state !== "ready" || found.value.waitsFor === waitsFor) return;
    const told = withNotice(found.value, "failover-waits", `${found.value.vpgName}: its failover ${waitsFor}`);
    await site.table.transact(putIncident({ ...told, waitsFor }, found));
  });
}
