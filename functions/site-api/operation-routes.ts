import { decideSchema, retargetAskSchema, startOperationSchema, startSyncSchema } from "#core/api/site-api.ts";
import { startDeltaSync } from "#core/delta-sync/start.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { forgetOperation } from "#core/recovery/begun-operation.ts";
import { decide } from "#core/recovery/decide.ts";
import * as store from "#core/recovery/operation-store.ts";
import { listOperations, operationView } from "#core/recovery/operation-view.ts";
import { readReport, readReportHtml } from "#core/recovery/report.ts";
import { reportPolicy } from "#core/recovery/report-html.ts";
import { resumeMove } from "#core/recovery/resume-move.ts";
import { retarget } from "#core/recovery/retarget.ts";
import { retryOperation } from "#core/recovery/retry-operation.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import { bodyJson, type HttpResult, json, page } from "../shared/http.ts";
import { httpLimits } from "../shared/limits.ts";
import type { Call } from "../shared/router.ts";

const operationId = ({ param }: Call): Id => parseInput(idSchema, param("operation"));

export async function postOperation({ site, caller, event, param }: Call): Promise<HttpResult> {
  const ask = parseInput(startOperationSchema, bodyJson(event, httpLimits.jsonBytesMax));
  const vpg = await getVpg(site, param("ref"));
  const started = await startOperation(site, caller, vpg, ask);
  return json(await operationView(site, started.operationId), 201);
}

export async function postSync({ site, caller, event, param }: Call): Promise<HttpResult> {
  const { requestId } = parseInput(startSyncSchema, bodyJson(event, httpLimits.jsonBytesMax));
  const started = await startDeltaSync(site, caller, param("ref"), { requestId, options: { force: true } });
  return json(await operationView(site, started.operationId), 201);
}

export async function getOperations({ site, query }: Call): Promise<HttpResult> {
  const ref = query.get("vpg");
  const filter = ref === null ? {} : { vpgId: (await getVpg(site, ref)).vpgId };
  const open = query.get("open");
  return json({
    operations: await listOperations(site, open === null ? filter : { ...filter, open: open === "true" }),
  });
}

export async function getOperation(call: Call): Promise<HttpResult> {
  return json(await operationView(call.site, operationId(call)));
}

export async function postDecision(call: Call): Promise<HttpResult> {
  const ask = parseInput(decideSchema, bodyJson(call.event, httpLimits.jsonBytesMax));
  return json({ decision: await decide(call.site, call.caller, operationId(call), ask) });
}

export async function postRetarget(call: Call): Promise<HttpResult> {
  const ask = parseInput(retargetAskSchema, bodyJson(call.event, httpLimits.jsonBytesMax));
  const retargeted = await retarget(call.site, call.caller, operationId(call), ask);
  return json(await operationView(call.site, retargeted.operationId));
}

export async function postMoveResume({ site, caller, param }: Call): Promise<HttpResult> {
  const resumed = await resumeMove(site, caller, param("ref"));
  return json(await operationView(site, resumed.operationId), 201);
}

export async function postRetry(call: Call): Promise<HttpResult> {
  const retried = await retryOperation(call.site, call.caller, operationId(call));
  return json(await operationView(call.site, retried.operationId));
}

export async function postForget(call: Call): Promise<HttpResult> {
  return json(await vpgView(call.site, await forgetOperation(call.site, call.caller, operationId(call))));
}

export async function getReport(call: Call): Promise<HttpResult> {
  const { vpgId } = await store.getOperation(call.site, operationId(call));
  return json(await readReport(call.site, vpgId, operationId(call)));
}

/** For a person's browser or printer, and for `report show --html`. */
export async function getReportPage(call: Call): Promise<HttpResult> {
  const { vpgId } = await store.getOperation(call.site, operationId(call));
  return page(await readReportHtml(call.site, vpgId, operationId(call)), reportPolicy);
}
