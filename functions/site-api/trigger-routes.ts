import { approvalAnswerSchema, siteFailoverAskSchema } from "#core/api/trigger-api.ts";
import { idSchema, nameSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { answerApproval } from "#core/trigger/approval.ts";
import { receiveEvent } from "#core/trigger/receive-event.ts";
import { failOverSite, planSiteFailover } from "#core/trigger/site-failover.ts";
import { getIncident, listIncidents } from "#core/trigger/store.ts";
import { bodyJson, type HttpResult, json } from "../shared/http.ts";
import { httpLimits } from "../shared/limits.ts";
import type { Call } from "../shared/router.ts";

const body = ({ event }: Call): unknown => bodyJson(event, httpLimits.jsonBytesMax);

export async function postEvent(call: Call): Promise<HttpResult> {
  return json(await receiveEvent(call.site, body(call)), 202);
}

export async function getIncidents({ site, query }: Call): Promise<HttpResult> {
  const ref = query.get("vpg");
  const vpgId = ref === null ? undefined : (await getVpg(site, ref)).vpgId;
  return json({ incidents: await listIncidents(site, vpgId) });
}

export async function getOneIncident({ site, param }: Call): Promise<HttpResult> {
  return json((await getIncident(site, parseInput(idSchema, param("incident")))).value);
}

export async function postApproval(call: Call): Promise<HttpResult> {
  const incidentId = parseInput(idSchema, call.param("incident"));
  const answer = parseInput(approvalAnswerSchema, body(call));
  return json(await answerApproval(call.site, call.caller, incidentId, answer));
}

export async function getSitePlan({ site, param }: Call): Promise<HttpResult> {
  const plan = await planSiteFailover(site, parseInput(nameSchema, param("protectedSite")));
  const vpgs = plan.map(({ name, vpgId, priority, dependsOn }) => ({ name, vpgId, priority, dependsOn }));
  return json({ vpgs });
}

export async function postSiteFailover(call: Call): Promise<HttpResult> {
  const ask = parseInput(siteFailoverAskSchema, body(call));
  const protectedSite = parseInput(nameSchema, call.param("protectedSite"));
  return json(await failOverSite(call.site, call.caller, protectedSite, ask), 202);
}
