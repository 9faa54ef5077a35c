import type { StatusReply } from "#core/api/site-api.ts";
import { listGateways } from "#core/protection/gateway-store.ts";
import { listVpgs } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import type { Site } from "#core/site.ts";
import { version } from "#core/version.ts";
import { listOperations } from "./operation-view.ts";

/** Everything `farshore status` shows of a site. */
export async function siteStatus(site: Site): Promise<StatusReply> {
  const vpgs = await listVpgs(site);
  return {
    site: { siteId: site.siteId, name: site.siteName, time: site.clock.now(), version },
    vpgs: await Promise.all(vpgs.map((vpg) => vpgView(site, vpg))),
    gateways: [...(await listGateways(site))],
    operations: [...(await listOperations(site, { open: true }))],
  };
}
