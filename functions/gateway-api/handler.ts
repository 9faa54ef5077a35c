import { setImmediate } from "node:timers/promises";
import { hashesSchema, heartbeatSchema, openSessionSchema } from "#core/api/gateway-api.ts";
import { parseInput } from "#core/json.ts";
import { commandReportSchema } from "#core/protection/command.ts";
import { reportCommand } from "#core/protection/commands.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { imageHashes } from "#core/protection/image-hashes.ts";
import { assertMayRead } from "#core/protection/journal-reads.ts";
import { openSession } from "#core/protection/open-session.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { bodyJson, type HttpResult, json, octets } from "../shared/http.ts";
import { httpHandler } from "../shared/http-handler.ts";
import { getBatches, getObject } from "../shared/journal-routes.ts";
import { httpLimits } from "../shared/limits.ts";
import type { Call, Route } from "../shared/router.ts";
import { configuredHost } from "../shared/site.ts";

/** What gateways ask of a site beside sending batches (core/api/gateway-api.ts). No token but a gateway's may call it. */
const routes: readonly Omit<Route, "role">[] = [
  { method: "POST", path: "/heartbeat", run: postHeartbeat },
  { method: "POST", path: "/commands/{command}", run: postReport },
  { method: "POST", path: "/sessions", run: postSession },
  { method: "POST", path: "/hashes", run: postHashes },
  { method: "GET", path: "/vpgs/{ref}", run: getDefinition },
  { method: "GET", path: "/vpgs/{ref}/batches", run: getBatches },
  { method: "GET", path: "/vpgs/{ref}/objects/{key+}", run: getObject },
];

const body = ({ event }: Call): unknown => bodyJson(event, httpLimits.jsonBytesMax);

async function postHeartbeat(call: Call): Promise<HttpResult> {
  return json(await acceptHeartbeat(call.site, call.caller, parseInput(heartbeatSchema, body(call))));
}

async function postReport(call: Call): Promise<HttpResult> {
  const report = parseInput(commandReportSchema, body(call));
  await reportCommand(call.site, call.caller, call.param("command"), report);
  return json({});
}

async function postSession(call: Call): Promise<HttpResult> {
  const opened = await openSession(call.site, call.caller, parseInput(openSessionSchema, body(call)));
  return json({ ...opened, batchesUrl: configuredHost().ingestUrl });
}

async function postHashes(call: Call): Promise<HttpResult> {
  const ask = parseInput(hashesSchema, body(call));
  const vpg = await getVpg(call.site, ask.vpgId);
  assertMayRead(call.caller, vpg);
  return octets(call.event, await imageHashes(call.site, vpg, ask, setImmediate));
}

async function getDefinition({ site, caller, param }: Call): Promise<HttpResult> {
  const vpg = await getVpg(site, param("ref"));
  assertMayRead(caller, vpg);
  return json({ definition: vpg.definition });
}

export const handler = httpHandler(
  "gateway-api",
  routes.map((route) => ({ ...route, path: `/gateway/v1${route.path}`, role: "gateway" })),
);
