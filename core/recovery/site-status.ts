import type { StatusReply } from "#core/api/site-api.ts";
import { listGateways } from "#core/protection/gateway-store.ts";
import { listPeers } from "#core/protection/peers.ts";
import { lastingAlerts, vpgAlerts } from "#core/protection/vpg-alerts.ts";
import { listVpgs } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import type { Site } from "#core/site.ts";
import { alertOf, openIncidents } from "#core/trigger/suspicion.ts";
import { version } from "#core/version.ts";
import { listOperations } from "./operation-view.ts";
import { decisionAlert } from "./route.ts";

/** Everything `farshore status` shows of a site. */
export async function siteStatus(site: Site): Promise<StatusReply> {
  const vpgs = await Promise.all((await listVpgs(site)).map((vpg) => vpgView(site, vpg)));
  const now = site.clock.now();
  const incidents = await openIncidents(
    site,
    vpgs.map(({ suspicion }) => suspicion),
  );
  const alerts = vpgs.flatMap((vpg) => {
    const incident = incidents.find((one) => one.vpgId === vpg.vpgId);
    // What follows from a lost source is not told beside it.
    const lost = alertOf(vpg.name, vpg.suspicion, incident, now);
    return [...lastingAlerts(vpg), ...(lost === null ? vpgAlerts(vpg) : [lost])];
  });
  const operations = await listOperations(site, { open: true });
  return {
    site: { siteId: site.siteId, name: site.siteName, time: now, version },
    vpgs,
    alerts: [...alerts, ...operations.flatMap((operation) => decisionAlert(operation, now) ?? [])],
    gateways: [...(await listGateways(site))],
    peers: [...(await listPeers(site))],
    operations: [...operations],
  };
}
