import {
  createTokenSchema,
  createVpgSchema,
  editVpgSchema,
  preseedSchema,
  throttleSchema,
} from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { issueCommand } from "#core/protection/commands.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { askedFor, gatewayNamed } from "#core/protection/definition-input.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import { editVpg } from "#core/protection/edit-vpg.ts";
import { failoverCheck } from "#core/protection/failover-check.ts";
import { listGateways } from "#core/protection/gateway-store.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { moveCheck } from "#core/protection/move-check.ts";
import { cancelPreseeds, startPreseed } from "#core/protection/preseed.ts";
import { registerPrincipal } from "#core/protection/principals.ts";
import { createToken } from "#core/protection/tokens.ts";
import { getVpg, listVpgs, pauseVpg, resumeVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { siteStatus } from "#core/recovery/site-status.ts";
import { callerText } from "#core/site.ts";
import { bodyJson, type HttpResult, json } from "../shared/http.ts";
import { httpHandler } from "../shared/http-handler.ts";
import { getBatches, getObject } from "../shared/journal-routes.ts";
import { httpLimits } from "../shared/limits.ts";
import type { Call, Route } from "../shared/router.ts";
import { configuredHost } from "../shared/site.ts";
import { getCheckpoints, getCommandState, getResolved, postCheckpoint } from "./checkpoint-routes.ts";
import { deleteLease, postLease } from "./lease-routes.ts";
import {
  getOperation,
  getOperations,
  getReport,
  getReportPage,
  postDecision,
  postForget,
  postMoveResume,
  postOperation,
  postRetarget,
  postRetry,
  postSync,
} from "./operation-routes.ts";
import { deletePeer, getOnePeer, getPeers, postPeer } from "./peer-routes.ts";
import { deleteOffer, postStarted, putOffer } from "./reverse-routes.ts";
import { getScrub, postScrub } from "./scrub-routes.ts";
import {
  getIncidents,
  getOneIncident,
  getSitePlan,
  postApproval,
  postEvent,
  postSiteFailover,
} from "./trigger-routes.ts";

/** What people and the command line ask of a site (core/api/site-api.ts). A gateway's token may call none of it. */
const routes: readonly Route[] = [
  { method: "GET", path: "/status", role: "viewer", run: async ({ site }) => json(await siteStatus(site)) },
  {
    method: "GET",
    path: "/gateways",
    role: "viewer",
    run: async ({ site }) => json({ gateways: await listGateways(site) }),
  },
  { method: "POST", path: "/gateways/{gateway}/throttle", role: "operator", run: postThrottle },
  { method: "POST", path: "/vpgs", role: "operator", run: postVpg },
  { method: "GET", path: "/vpgs", role: "viewer", run: getVpgs },
  { method: "GET", path: "/vpgs/{ref}", role: "viewer", run: getOneVpg },
  { method: "DELETE", path: "/vpgs/{ref}", role: "operator", run: deleteOneVpg },
  { method: "GET", path: "/vpgs/{ref}/definition", role: "viewer", run: getDefinition },
  { method: "POST", path: "/vpgs/{ref}/definition", role: "operator", run: postDefinition },
  { method: "POST", path: "/vpgs/{ref}/pause", role: "operator", run: (call) => changed(call, pauseVpg) },
  { method: "POST", path: "/vpgs/{ref}/resume", role: "operator", run: (call) => changed(call, resumeVpg) },
  { method: "GET", path: "/vpgs/{ref}/failover-check", role: "viewer", run: getFailoverCheck },
  { method: "GET", path: "/vpgs/{ref}/move-check", role: "viewer", run: getMoveCheck },
  { method: "GET", path: "/vpgs/{ref}/checkpoints", role: "viewer", run: getCheckpoints },
  { method: "GET", path: "/vpgs/{ref}/checkpoints/resolve", role: "viewer", run: getResolved },
  { method: "POST", path: "/vpgs/{ref}/checkpoints", role: "operator", run: postCheckpoint },
  { method: "GET", path: "/commands/{command}", role: "viewer", run: getCommandState },
  { method: "POST", path: "/vpgs/{ref}/operations", role: "operator", run: postOperation },
  { method: "POST", path: "/vpgs/{ref}/preseed", role: "operator", run: postPreseed },
  { method: "DELETE", path: "/vpgs/{ref}/preseed", role: "operator", run: deletePreseed },
  { method: "POST", path: "/vpgs/{ref}/move-resume", role: "operator", run: postMoveResume },
  { method: "POST", path: "/vpgs/{ref}/sync", role: "operator", run: postSync },
  { method: "GET", path: "/vpgs/{ref}/scrub", role: "viewer", run: getScrub },
  { method: "POST", path: "/vpgs/{ref}/scrub", role: "operator", run: postScrub },
  { method: "GET", path: "/operations", role: "viewer", run: getOperations },
  { method: "GET", path: "/operations/{operation}", role: "viewer", run: getOperation },
  { method: "POST", path: "/operations/{operation}/decision", role: "operator", run: postDecision },
  { method: "POST", path: "/operations/{operation}/retarget", role: "operator", run: postRetarget },
  { method: "POST", path: "/operations/{operation}/retry", role: "operator", run: postRetry },
  { method: "POST", path: "/operations/{operation}/forget", role: "operator", run: postForget },
  { method: "GET", path: "/reports/{operation}", role: "viewer", run: getReport },
  { method: "GET", path: "/reports/{operation}/html", role: "viewer", run: getReportPage },
  { method: "POST", path: "/events", role: "operator", run: postEvent },
  { method: "GET", path: "/incidents", role: "viewer", run: getIncidents },
  { method: "GET", path: "/incidents/{incident}", role: "viewer", run: getOneIncident },
  { method: "POST", path: "/incidents/{incident}/approval", role: "approver", run: postApproval },
  { method: "GET", path: "/protected-sites/{protectedSite}/failover-plan", role: "viewer", run: getSitePlan },
  { method: "POST", path: "/protected-sites/{protectedSite}/failover", role: "operator", run: postSiteFailover },
  { method: "POST", path: "/peers", role: "operator", run: postPeer },
  { method: "GET", path: "/peers", role: "viewer", run: getPeers },
  { method: "GET", path: "/peers/{peer}", role: "viewer", run: getOnePeer },
  { method: "DELETE", path: "/peers/{peer}", role: "operator", run: deletePeer },
  { method: "PUT", path: "/vpgs/{vpg}/reverse-offer", role: "peer", run: putOffer },
  { method: "POST", path: "/vpgs/{vpg}/reverse-offer/started", role: "peer", run: postStarted },
  { method: "DELETE", path: "/vpgs/{vpg}/reverse-offer", role: "peer", run: deleteOffer },
  { method: "POST", path: "/tokens", role: "operator", run: postToken },
  { method: "POST", path: "/vpgs/{ref}/leases/{lease}", role: "operator", run: postLease },
  { method: "DELETE", path: "/vpgs/{ref}/leases/{lease}", role: "operator", run: deleteLease },
  { method: "GET", path: "/vpgs/{ref}/batches", role: "operator", run: getBatches },
  { method: "GET", path: "/vpgs/{ref}/objects/{key+}", role: "operator", run: getObject },
];

async function postVpg({ site, caller, event }: Call): Promise<HttpResult> {
  const input = parseInput(createVpgSchema, bodyJson(event, httpLimits.jsonBytesMax));
  return json(await vpgView(site, await createVpg(site, input, caller)), 201);
}

/** Orders a gateway to ship no faster; the caller looks at the command until it is done. */
async function postThrottle({ site, caller, param, event }: Call): Promise<HttpResult> {
  const { bytesPerSecond } = parseInput(throttleSchema, bodyJson(event, httpLimits.jsonBytesMax));
  const commandId = `${newId(site.clock, site.random)}.throttle`;
  const body = { kind: "set-throttle", bytesPerSecond } as const;
  const ask = { commandId, body, expiresInMs: limits.tagExpiryMs, initiatedBy: callerText(caller) };
  await issueCommand(site, await gatewayNamed(site, param("gateway")), ask);
  return json({ commandId }, 202);
}

/** Orders the recovery gateway to bring copies of disks into the journal; the caller looks at the command until it is done. */
async function postPreseed({ site, caller, param, event }: Call): Promise<HttpResult> {
  const ask = parseInput(preseedSchema, bodyJson(event, httpLimits.jsonBytesMax));
  return json(await startPreseed(site, caller, param("ref"), ask), 202);
}

async function deletePreseed({ site, caller, param }: Call): Promise<HttpResult> {
  return json(await cancelPreseeds(site, caller, param("ref")));
}

async function getVpgs({ site }: Call): Promise<HttpResult> {
  const vpgs = await listVpgs(site);
  return json({ vpgs: await Promise.all(vpgs.map((vpg) => vpgView(site, vpg))) });
}

async function getOneVpg({ site, param }: Call): Promise<HttpResult> {
  return json(await vpgView(site, await getVpg(site, param("ref"))));
}

async function getDefinition({ site, param }: Call): Promise<HttpResult> {
  const { definition } = await getVpg(site, param("ref"));
  return json({ revision: definition.revision, definition: askedFor(definition) });
}

async function postDefinition({ site, caller, param, event }: Call): Promise<HttpResult> {
  const ask = parseInput(editVpgSchema, bodyJson(event, httpLimits.jsonBytesMax));
  const { vpg, changes } = await editVpg(site, caller, param("ref"), ask);
  return json({ revision: vpg.definition.revision, changes: [...changes] });
}

async function deleteOneVpg({ site, caller, param }: Call): Promise<HttpResult> {
  await deleteVpg(site, caller, param("ref"));
  return json({});
}

async function changed({ site, caller, param }: Call, change: typeof pauseVpg): Promise<HttpResult> {
  const { vpgId } = await getVpg(site, param("ref"));
  return json(await vpgView(site, await change(site, caller, vpgId)));
}

async function getFailoverCheck({ site, param }: Call): Promise<HttpResult> {
  return json(await failoverCheck(site, await getVpg(site, param("ref"))));
}

async function getMoveCheck({ site, param }: Call): Promise<HttpResult> {
  return json(await moveCheck(site, await getVpg(site, param("ref"))));
}

/** A token where callers show tokens, an IAM role where requests are signed: the other would open nothing. */
async function postToken({ site, caller, event }: Call): Promise<HttpResult> {
  const { iamRole, ...input } = parseInput(createTokenSchema, bodyJson(event, httpLimits.jsonBytesMax));
  const signed = configuredHost().authentication.kind === "iam";
  if (signed !== (iamRole !== undefined)) {
    const need = signed
      ? "knows callers by IAM: name theirs with --iam-role ARN"
      : "knows callers by tokens: leave --iam-role out";
    throw new InvalidInput(`this site ${need}`, { field: "iamRole" });
  }
  if (iamRole === undefined) return json(await createToken(site, input, caller), 201);
  return json(await registerPrincipal(site, { ...input, iamRole }, caller), 201);
}

export const handler = httpHandler(
  "site-api",
  routes.map((route) => ({ ...route, path: `/v1${route.path}` })),
);
