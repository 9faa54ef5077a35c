import { AlreadyDecided, ApprovalExpired, InvalidInput, SourceRecovered } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { tryAgain } from "#core/protection/try-again.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import type { Approval, Incident } from "./incident.ts";
import { look } from "./sight.ts";
import { getIncident, putIncident, readWatch } from "./store.ts";

export interface ApprovalAnswer {
  readonly decision: "approved" | "rejected";
  readonly notes: string;
}

/**
 * An approver's answer to an incident. The same answer again is the answer that stands. The failover starts at the monitor's
 * next look, if the source is still silent then.
 * Throws `AlreadyDecided`, `ApprovalExpired`, `SourceRecovered`, `InvalidInput` (nothing of it waits for an approval).
 */
export function answerApproval(
  site: Site,
  caller: Caller,
  incidentId: Id,
  { decision, notes }: ApprovalAnswer,
): Promise<Incident> {
  return tryAgain(`incident ${incidentId}`, async () => {
    const found = await getIncident(site, incidentId);
    const incident = found.value;
    const { approval } = incident;
    if (approval === null) {
      throw new InvalidInput(`incident ${incidentId} of ${incident.vpgName} asks for no approval`, { incidentId });
    }
    if (approval.decision === decision) return incident;
    const now = site.clock.now();
    assertOpen(incident, approval, now);
    const answered: Approval = { ...approval, decision, by: callerText(caller), at: now, notes };
    const checks = decision === "approved" ? await stillSilent(site, incident, now) : [];
    const next = { ...incident, approval: answered };
    await site.table.transact([...putIncident(next, found), ...checks]);
    site.log.info("approval", { incidentId, vpg: incident.vpgName, decision, initiatedBy: answered.by });
    return next;
  });
}

function assertOpen({ incidentId, vpgName, state, outcome }: Incident, approval: Approval, now: number): void {
  if (approval.decision !== null) {
    throw new AlreadyDecided(`incident ${incidentId} was ${approval.decision} by ${approval.by}`, { incidentId });
  }
  if (outcome === "recovered") throw recovered(vpgName, incidentId);
  if (outcome === "expired" || now >= approval.expiresAt) {
    throw new ApprovalExpired(
      `the approval of incident ${incidentId} ended at ${new Date(approval.expiresAt).toISOString()}; ` +
        `farshore failover live ${vpgName} starts it without one`,
      { incidentId },
    );
  }
  if (state !== "awaiting-approval") {
    throw new InvalidInput(
      `incident ${incidentId} of ${vpgName} is ${outcome ?? state}: nothing waits for an approval`,
      {
        incidentId,
      },
    );
  }
}

async function stillSilent(site: Site, { incidentId, vpgId, vpgName }: Incident, now: number) {
  const { value: watch } = await readWatch(site, vpgId);
  const sight = await look(site, await getVpg(site, vpgId), { now, before: watch.silence?.lookedAt ?? null });
  if (sight.heard) throw recovered(vpgName, incidentId);
  return sight.stillSilent;
}

const recovered = (vpgName: string, incidentId: Id): SourceRecovered =>
  new SourceRecovered(`the source of ${vpgName} was heard again; nothing is left to approve`, { incidentId });
