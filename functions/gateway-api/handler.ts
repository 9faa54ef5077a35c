import { setImmediate } from "node:timers/promises";
import { hashesSchema, heartbeatSchema, openSessionSchema } from "#core/api/gateway-api.ts";
import { syncForSession, syncForStreams } from "#core/delta-sync/for-session.ts";
import { getPageWants, putPageHashes } from "#core/delta-sync/page-objects.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { SyncPagePlace } from "#core/journal/keys.ts";
import { parseInput } from "#core/json.ts";
import { commandReportSchema } from "#core/protection/command.ts";
import { reportCommand } from "#core/protection/commands.ts";
import { currentRole } from "#core/protection/current-role.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { imageHashes } from "#core/protection/image-hashes.ts";
import { assertMayRead } from "#core/protection/journal-reads.ts";
import { openSession } from "#core/protection/open-session.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { pageObjectBytesMax } from "#core/sync/limits.ts";
import { bodyBytes, bodyJson, type HttpResult, json, octets } from "../shared/http.ts";
import { httpHandler } from "../shared/http-handler.ts";
import { getBatches, getObject } from "../shared/journal-routes.ts";
import { httpLimits } from "../shared/limits.ts";
import { type Call, type Route, wholeNumber } from "../shared/router.ts";
import { configuredHost } from "../shared/site.ts";

/** What gateways ask of a site beside sending batches (core/api/gateway-api.ts). No token but a gateway's may call it. */
const routes: readonly Omit<Route, "role">[] = [
  { method: "POST", path: "/heartbeat", run: postHeartbeat },
  { method: "POST", path: "/commands/{command}", run: postReport },
  { method: "POST", path: "/sessions", run: postSession },
  { method: "POST", path: "/hashes", run: postHashes },
  { method: "PUT", path: "/syncs/{operation}/{session}/{volume}/{page}", run: putHashes },
  { method: "GET", path: "/syncs/{operation}/{session}/{volume}/{page}", run: getWants },
  { method: "GET", path: "/vpgs/{ref}", run: getDefinition },
  { method: "GET", path: "/vpgs/{ref}/role", run: getRole },
  { method: "GET", path: "/vpgs/{ref}/batches", run: getBatches },
  { method: "GET", path: "/vpgs/{ref}/objects/{key+}", run: getObject },
];

const body = ({ event }: Call): unknown => bodyJson(event, httpLimits.jsonBytesMax);

async function postHeartbeat(call: Call): Promise<HttpResult> {
  const heartbeat = parseInput(heartbeatSchema, body(call));
  const reply = await acceptHeartbeat(call.site, call.caller, heartbeat);
  await syncForStreams(call.site, call.caller, heartbeat);
  return json(reply);
}

async function postReport(call: Call): Promise<HttpResult> {
  const report = parseInput(commandReportSchema, body(call));
  await reportCommand(call.site, call.caller, call.param("command"), report);
  return json({});
}

async function postSession(call: Call): Promise<HttpResult> {
  const ask = parseInput(openSessionSchema, body(call));
  const opened = await openSession(call.site, call.caller, ask);
  await syncForSession(call.site, call.caller, ask, opened);
  return json({ ...opened, batchesUrl: configuredHost().ingestUrl });
}

async function postHashes(call: Call): Promise<HttpResult> {
  const ask = parseInput(hashesSchema, body(call));
  const vpg = await getVpg(call.site, ask.vpgId);
  assertMayRead(call.caller, vpg);
  return octets(call.event, await imageHashes(call.site, vpg, ask, setImmediate));
}

async function putHashes(call: Call): Promise<HttpResult> {
  const sent = bodyBytes(call.event, pageObjectBytesMax);
  await putPageHashes(call.site, call.caller, syncOperation(call), syncPlace(call), sent);
  return json({});
}

async function getWants(call: Call): Promise<HttpResult> {
  return octets(call.event, await getPageWants(call.site, call.caller, syncOperation(call), syncPlace(call)));
}

const syncOperation = ({ param }: Call): Id => parseInput(idSchema, param("operation"));

function syncPlace({ param }: Call): SyncPagePlace {
  const number = (name: string): number => wholeNumber(param(name), name);
  return { session: number("session"), volume: number("volume"), page: number("page") };
}

async function getDefinition({ site, caller, param }: Call): Promise<HttpResult> {
  const vpg = await getVpg(site, param("ref"));
  assertMayRead(caller, vpg);
  return json({ definition: vpg.definition });
}

async function getRole({ site, caller, param }: Call): Promise<HttpResult> {
  return json({ role: await currentRole(site, caller, param("ref")) });
}

export const handler = httpHandler(
  "gateway-api",
  routes.map((route) => ({ ...route, path: `/gateway/v1${route.path}`, role: "gateway" })),
);
