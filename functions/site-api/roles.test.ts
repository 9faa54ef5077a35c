import { beforeAll, describe, expect, it } from "vitest";
import { newId } from "#core/ids.ts";
import { createToken } from "#core/protection/tokens.ts";
import type { Caller } from "#core/site.ts";
import { lambdaContext } from "../../cli/site/lambda-context.ts";
import { makeSite, operator, protect, type TestSite, twoVolumes } from "../../test/kit/site.ts";
import { handler as gatewayApi } from "../gateway-api/handler.ts";
import { handler as ingestBatch } from "../ingest-batch/handler.ts";
import type { HttpHandler } from "../shared/http-handler.ts";
import { httpLimits } from "../shared/limits.ts";
import { runWithSite } from "../shared/site.ts";
import { handler as siteApi } from "./handler.ts";

interface Answer {
  readonly status: number;
  readonly error: string;
}

let site: TestSite;
const tokens: Record<string, string> = {};

async function call(
  handler: HttpHandler,
  method: string,
  path: string,
  token: string | undefined,
  body?: unknown,
): Promise<Answer> {
  const [rawPath = "", rawQueryString = ""] = path.split("?");
  const event = {
    rawPath,
    rawQueryString,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    isBase64Encoded: false,
    requestContext: { requestId: "r1", timeEpoch: 0, http: { method } },
  };
  const result = await runWithSite(site, () => handler(event, lambdaContext("test", "r1")));
  const text = result.isBase64Encoded ? "{}" : (result.body ?? "{}");
  return { status: result.statusCode ?? 0, error: JSON.parse(text)?.error?.name ?? "" };
}

beforeAll(async () => {
  site = makeSite();
  await protect(site);
  for (const role of ["viewer", "approver", "operator", "gateway", "peer"] as const) {
    tokens[role] = (await createToken(site, { name: `t-${role}`, role }, operator)).token;
  }
});

const id = "01k3s1te000000000000000009";
const heartbeat = { version: "0", sampledAt: 1, processId: id, streams: [], attachedOperations: [] };

const rolesOf = {
  read: ["viewer", "approver", "operator"],
  write: ["operator"],
  approve: ["approver"],
  peer: ["peer"],
} as const;

/** Every route with the roles that get past the door; what is behind it may still refuse the ask itself. */
const routes: readonly [string, HttpHandler, string, string, readonly Caller["role"][]][] = [
  ...(
    [
      ["GET", "/v1/status", "read"],
      ["GET", "/v1/gateways", "read"],
      ["POST", "/v1/vpgs", "write"],
      ["POST", "/v1/gateways/gw-berlin/throttle", "write"],
      ["GET", "/v1/vpgs", "read"],
      ["GET", "/v1/vpgs/shop", "read"],
      ["POST", "/v1/vpgs/shop/pause", "write"],
      ["GET", "/v1/vpgs/shop/definition", "read"],
      ["POST", "/v1/vpgs/shop/definition", "write"],
      ["POST", "/v1/vpgs/shop/resume", "write"],
      ["GET", "/v1/vpgs/shop/failover-check", "read"],
      ["GET", "/v1/vpgs/shop/move-check", "read"],
      ["GET", "/v1/vpgs/shop/checkpoints?limit=5", "read"],
      ["GET", "/v1/vpgs/shop/checkpoints/resolve?kind=latest", "read"],
      ["POST", "/v1/vpgs/shop/checkpoints", "write"],
      ["GET", "/v1/commands/x.tag", "read"],
      ["POST", "/v1/vpgs/shop/preseed", "write"],
      ["DELETE", "/v1/vpgs/shop/preseed", "write"],
      ["POST", "/v1/vpgs/shop/operations", "write"],
      ["GET", "/v1/operations?open=true", "read"],
      ["GET", `/v1/operations/${id}`, "read"],
      ["POST", `/v1/operations/${id}/decision`, "write"],
      ["POST", `/v1/operations/${id}/retarget`, "write"],
      ["POST", `/v1/operations/${id}/retry`, "write"],
      ["GET", `/v1/reports/${id}`, "read"],
      ["GET", `/v1/reports/${id}/html`, "read"],
      ["POST", "/v1/events", "write"],
      ["GET", "/v1/incidents", "read"],
      ["GET", `/v1/incidents/${id}`, "read"],
      ["POST", `/v1/incidents/${id}/approval`, "approve"],
      ["GET", "/v1/protected-sites/berlin/failover-plan", "read"],
      ["POST", "/v1/protected-sites/berlin/failover", "write"],
      ["POST", "/v1/peers", "write"],
      ["GET", "/v1/peers", "read"],
      ["GET", "/v1/peers/none", "read"],
      ["DELETE", "/v1/peers/none", "write"],
      ["POST", "/v1/tokens", "write"],
      ["POST", `/v1/vpgs/shop/leases/${id}`, "write"],
      ["DELETE", `/v1/vpgs/shop/leases/${id}`, "write"],
      ["GET", "/v1/vpgs/shop/batches?session=1&sequence=1", "write"],
      ["GET", "/v1/vpgs/shop/objects/journal/x", "write"],
      ["DELETE", "/v1/vpgs/none", "write"],
      ["PUT", `/v1/vpgs/${id}/reverse-offer`, "peer"],
      ["POST", `/v1/vpgs/${id}/reverse-offer/started`, "peer"],
      ["DELETE", `/v1/vpgs/${id}/reverse-offer`, "peer"],
    ] as const
  ).map(
    ([method, path, kind]) =>
      [`${method} ${path}`, siteApi, method, path, rolesOf[kind]] as [
        string,
        HttpHandler,
        string,
        string,
        readonly Caller["role"][],
      ],
  ),
  ...(
    [
      ["POST", "/gateway/v1/heartbeat"],
      ["POST", "/gateway/v1/commands/x.tag"],
      ["POST", "/gateway/v1/sessions"],
      ["POST", "/gateway/v1/hashes"],
      ["GET", "/gateway/v1/vpgs/shop"],
      ["GET", "/gateway/v1/vpgs/shop/role"],
      ["GET", "/gateway/v1/vpgs/shop/batches?session=1&sequence=1"],
      ["GET", "/gateway/v1/vpgs/shop/objects/journal/x"],
    ] as const
  ).map(
    ([method, path]) =>
      [`${method} ${path}`, gatewayApi, method, path, ["gateway"]] as [
        string,
        HttpHandler,
        string,
        string,
        readonly Caller["role"][],
      ],
  ),
  ["PUT a batch", ingestBatch, "PUT", `/gateway/v1/batches/${id}/1/1/0`, ["gateway"]],
];

describe("who may call what", () => {
  it.each(routes)("%s", async (_name, handler, method, path, allowed) => {
    const body = method === "GET" || method === "DELETE" ? undefined : {};
    for (const role of ["viewer", "approver", "operator", "gateway", "peer"] as const) {
      const { status, error } = await call(handler, method, path, tokens[role], body);
      const refusedByRole = status === 403 && error === "Forbidden";
      const mayGoOn = allowed.includes(role);
      // A gateway that is neither of the VPG's own gateways is let in by its role and refused by the VPG.
      const foreign = role === "gateway" && path.startsWith("/gateway/v1/vpgs/");
      expect({ role, refusedByRole }).toEqual({ role, refusedByRole: foreign || !mayGoOn });
      expect(status).not.toBe(500);
    }
    for (const token of [undefined, "fst_wrong", `fst_${"a".repeat(43)}`, "Bearer x", ""]) {
      expect(await call(handler, method, path, token, body)).toEqual({ status: 401, error: "Unauthenticated" });
    }
  });
});

describe("bad asks", () => {
  it.each<[string, string, string, unknown, number, string]>([
    ["an unknown path", "GET", "/v1/nothing", undefined, 404, "NotFound"],
    ["another method", "PATCH", "/v1/status", undefined, 404, "NotFound"],
    ["no JSON", "POST", "/v1/tokens", "{", 400, "InvalidInput"],
    ["a field too many", "POST", "/v1/tokens", { name: "x", role: "viewer", admin: true }, 400, "InvalidInput"],
    ["an unknown role", "POST", "/v1/tokens", { name: "x", role: "root" }, 400, "InvalidInput"],
    ["a name taken by another role", "POST", "/v1/tokens", { name: "t-viewer", role: "operator" }, 400, "InvalidInput"],
    ["a bad name in the path", "GET", "/v1/vpgs/%ff", undefined, 400, "InvalidInput"],
    ["an unknown VPG", "GET", "/v1/vpgs/none", undefined, 404, "NotFound"],
    ["a VPG whose name is taken", "POST", "/v1/vpgs", twoVolumes, 400, "InvalidInput"],
    [
      "an unknown gateway",
      "POST",
      "/v1/vpgs",
      { ...twoVolumes, name: "b", sourceGateway: "none" },
      400,
      "InvalidInput",
    ],
    [
      "compute without a gateway",
      "POST",
      "/v1/vpgs",
      { ...twoVolumes, name: "c", recoveryGateway: null },
      400,
      "InvalidInput",
    ],
    ["a limit that is no number", "GET", "/v1/vpgs/shop/checkpoints?limit=many", undefined, 400, "InvalidInput"],
    ["an unknown kind", "GET", "/v1/vpgs/shop/checkpoints/resolve?kind=best", undefined, 400, "InvalidInput"],
    [
      "a time that is no number",
      "GET",
      "/v1/vpgs/shop/checkpoints/resolve?kind=time&value=noon",
      undefined,
      400,
      "InvalidInput",
    ],
    [
      "a checkpoint that isn't there",
      "GET",
      "/v1/vpgs/shop/checkpoints/resolve?kind=latest",
      undefined,
      409,
      "NoCheckpoint",
    ],
    ["an operation that isn't there", "GET", `/v1/operations/${id}`, undefined, 404, "NotFound"],
    ["a page of an operation that isn't there", "GET", `/v1/reports/${id}/html`, undefined, 404, "NotFound"],
    ["a page of an id that is none", "GET", "/v1/reports/%3Cb%3E/html", undefined, 400, "InvalidInput"],
    ["an operation's id that is none", "GET", "/v1/operations/x", undefined, 400, "InvalidInput"],
    [
      "an object outside the journal",
      "GET",
      "/v1/vpgs/shop/objects/tokens/t-viewer.json",
      undefined,
      400,
      "InvalidInput",
    ],
    [
      "a lease of a checkpoint that isn't there",
      "POST",
      `/v1/vpgs/shop/leases/${id}`,
      { checkpoint: "1-5" },
      409,
      "NoCheckpoint",
    ],
    ["a lease's id that is none", "POST", "/v1/vpgs/shop/leases/x", { checkpoint: "1-5" }, 400, "InvalidInput"],
    ["a lease of no checkpoint's id", "POST", `/v1/vpgs/shop/leases/${id}`, { checkpoint: "x" }, 400, "InvalidInput"],
    ["a path that climbs", "GET", "/v1/vpgs/shop/objects/..%2f..%2fsite.json", undefined, 400, "InvalidInput"],
    ["half a range", "GET", "/v1/vpgs/shop/objects/journal/x?offset=1", undefined, 400, "InvalidInput"],
    [
      "a cursor that no page gave",
      "GET",
      "/v1/vpgs/shop/batches?session=1&sequence=1&cursor=x",
      undefined,
      400,
      "InvalidInput",
    ],
    ["a body that is too large", "POST", "/v1/vpgs", "x".repeat(2 ** 20 + 1), 400, "InvalidInput"],
    ["a tag that is too long", "POST", "/v1/vpgs/shop/checkpoints", { tag: "ä".repeat(100) }, 400, "InvalidInput"],
  ])("%s", async (_case, method, path, body, status, error) => {
    expect(await call(siteApi, method, path, tokens["operator"], body)).toEqual({ status, error });
  });

  it.each<[string, string, string, unknown, number, string]>([
    ["a heartbeat that isn't one", "POST", "/gateway/v1/heartbeat", { version: 1 }, 400, "InvalidInput"],
    ["a session of an unknown VPG", "POST", "/gateway/v1/sessions", { vpgId: id }, 400, "InvalidInput"],
    [
      "a report on nobody's command",
      "POST",
      "/gateway/v1/commands/x.tag",
      { state: "done", result: {} },
      404,
      "NotFound",
    ],
  ])("%s", async (_case, method, path, body, status, error) => {
    expect(await call(gatewayApi, method, path, tokens["gateway"], body)).toEqual({ status, error });
  });

  it.each([
    ["numbers", "/gateway/v1/batches/x/1/1/0", 400],
    ["a term that is no number", `/gateway/v1/batches/${id}/one/1/0`, 400],
    ["a batch beyond all numbers", `/gateway/v1/batches/${id}/1/1/99999999999999999`, 400],
    ["an unknown VPG", `/gateway/v1/batches/${id}/1/1/0`, 403],
  ])("a batch: %s", async (_case, path, status) => {
    expect((await call(ingestBatch, "PUT", path, tokens["gateway"], "FSHJ")).status).toBe(status);
  });
});

describe("tokens", () => {
  it("a new one of a name ends the old, and keeps a gateway's identity", async () => {
    const first = await createToken(site, { name: "gw-new", role: "gateway" }, operator);
    expect((await call(gatewayApi, "POST", "/gateway/v1/heartbeat", first.token, heartbeat)).status).toBe(200);
    const second = await createToken(site, { name: "gw-new", role: "gateway" }, operator);
    expect(second.gatewayId).toBe(first.gatewayId);
    await site.clock.advance(httpLimits.callerRememberedMs + 1);
    expect((await call(gatewayApi, "POST", "/gateway/v1/heartbeat", first.token, heartbeat)).status).toBe(401);
    expect((await call(gatewayApi, "POST", "/gateway/v1/heartbeat", second.token, heartbeat)).status).toBe(200);
  });

  it("stand nowhere in the table or the bucket, only their hashes", async () => {
    const { token } = await createToken(site, { name: newId(site.clock, site.random), role: "viewer" }, operator);
    for (const { key } of await site.objects.list("tokens/")) {
      expect(Buffer.from(await site.objects.get(key)).toString()).not.toContain(token.slice(4));
    }
    const { items } = await site.table.query("token");
    expect(JSON.stringify(items)).not.toContain(token.slice(4));
  });
});
