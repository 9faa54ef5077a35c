import type { Alert, Suspicion } from "#core/api/trigger-api.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { findGateway, isFresh } from "#core/protection/gateway-store.ts";
import { alertOn } from "#core/protection/vpg-alerts.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import type { Site } from "#core/site.ts";
import { formatDuration } from "#core/units.ts";
import type { Incident } from "./incident.ts";
import { isWatched } from "./sight.ts";
import { findIncident, readWatch } from "./store.ts";
import { reachabilityOf } from "./watch.ts";

/** What is suspected of a VPG's source, as the monitor's last look left it. */
export async function suspicionOf(site: Site, vpg: VpgRecord): Promise<Suspicion> {
  const { value: watch } = await readWatch(site, vpg.vpgId);
  const { trigger } = vpg.definition;
  const silent = isWatched(vpg) ? await silentGateways(site, vpg) : [];
  const reachability = reachabilityOf(watch, trigger);
  return {
    // One silent gateway of several is worth a look, although the rest may be heard.
    reachability: reachability === "reachable" && silent.length > 0 ? "suspected" : reachability,
    silentSince: watch.silence?.since ?? null,
    hints: [
      ...silent.map((name) => `gateway ${name} is silent`),
      ...watch.hints.map(({ kind, source, reason }) => `${kind} of ${source}: ${reason}`),
    ],
    policy: trigger.policy,
    incidentId: watch.incidentId,
  };
}

/** Names of the source gateways that are not heard now. */
async function silentGateways(site: Site, { definition }: VpgRecord): Promise<readonly string[]> {
  const now = site.clock.now();
  const silent: string[] = [];
  for (const { gatewayId, name } of sourceGatewaysOf(definition)) {
    const gateway = await findGateway(site, gatewayId);
    if (!isFresh(gateway?.lastSeenAt ?? null, now)) silent.push(name);
  }
  return silent;
}

/** The open incidents of these VPGs, and what of them wants a person. */
export async function openIncidents(site: Site, suspicions: readonly Suspicion[]): Promise<readonly Incident[]> {
  const incidents: Incident[] = [];
  for (const { incidentId } of suspicions) {
    const found = incidentId === null ? undefined : await findIncident(site, incidentId);
    if (found !== undefined) incidents.push(found.value);
  }
  return incidents;
}

/** One alert a VPG: the most pressing. */
export function alertOf(vpg: string, suspicion: Suspicion, incident: Incident | undefined, now: number): Alert | null {
  const { reachability, silentSince, hints } = suspicion;
  if (incident?.state === "awaiting-approval" && incident.approval !== null) {
    const leftMs = Math.max(0, incident.approval.expiresAt - now);
    const text = `farshore approval approve ${incident.incidentId}, within ${formatDuration(leftMs)}`;
    return alertOn("approval-waits", vpg, text);
  }
  if (incident?.state === "started") {
    const text = `failover ${incident.incidentId} was started: ${incident.reason}`;
    return alertOn("failover-started", vpg, text);
  }
  if (incident?.waitsFor != null) {
    const text = `its failover ${incident.waitsFor}`;
    return alertOn("failover-waits", vpg, text);
  }
  if (reachability === "reachable") return null;
  const silence = silentSince === null ? "" : `silent for ${formatDuration(Math.max(0, now - silentSince))}`;
  const text = [silence, ...hints].filter((part) => part !== "").join("; ");
  return alertOn(`source-${reachability}`, vpg, text);
}
