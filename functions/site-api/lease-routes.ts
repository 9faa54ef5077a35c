import { leaseSchema } from "#core/api/site-api.ts";
import { idSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { releaseLease, takeLease } from "#core/protection/leases.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { retentionLimits as limits } from "#core/retention/limits.ts";
import { bodyJson, type HttpResult, json } from "../shared/http.ts";
import { httpLimits } from "../shared/limits.ts";
import type { Call } from "../shared/router.ts";

/** Takes a lease of a checkpoint, or renews it. */
export async function postLease({ site, param, event }: Call): Promise<HttpResult> {
  const leaseId = parseInput(idSchema, param("lease"));
  const { checkpoint, lostTail } = parseInput(leaseSchema, bodyJson(event, httpLimits.jsonBytesMax));
  const { vpgId } = await getVpg(site, param("ref"));
  const { until } = await takeLease(site, vpgId, { leaseId, checkpointId: checkpoint, lostTail });
  return json({ until, renewMs: limits.leaseRenewMs });
}

export async function deleteLease({ site, param }: Call): Promise<HttpResult> {
  const leaseId = parseInput(idSchema, param("lease"));
  const { vpgId } = await getVpg(site, param("ref"));
  await releaseLease(site, vpgId, leaseId);
  return json({});
}
