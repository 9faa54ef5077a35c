import { connect } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { statusReplySchema } from "#core/api/site-api.ts";
import { errorNames } from "#core/errors.ts";
import type { HttpAnswer } from "../kit/http-call.ts";
import { keptFiles } from "../kit/kept-objects.ts";
import { holds } from "../kit/property.ts";
import { SiteStage, servedVm, servedVpg } from "../kit/served-site.ts";
import { filled, routes, tokenFor } from "./routes.ts";

const unknownId = "01k3vpg0000000000000000009";
const sizeBytes = 64 * 1024;

let site: SiteStage;
beforeAll(async () => {
  site = await SiteStage.start({ volumes: [{ name: "data", sizeBytes }], checkpointIntervalMs: 1000 });
});
afterAll(async () => {
  await site.close();
  site.remove();
});

const stored = () => keptFiles(join(site.dataDir, "objects"));

/** The caller's fault, told by a name that callers know. */
function expectRefused(answer: HttpAnswer, what: string): void {
  expect(
    [Math.floor(answer.status / 100), errorNames.includes(answer.refused ?? "")],
    `${what}: ${answer.text}`,
  ).toEqual([4, true]);
}

/** The site serves, all that it stored can be read, and nothing that it was asked was a fault of its own. */
async function expectAlive(): Promise<void> {
  const status = await site.call("/v1/status", { token: site.tokens.viewer });
  expect(statusReplySchema.parse(status.json()).vpgs.map(({ name }) => name)).toContain(servedVpg);
  expect(site.log.entries.filter(({ level }) => level === "error")).toEqual([]);
}

describe.each(routes)("$method $path", (route) => {
  const path = filled(route.path, servedVpg);
  const { method } = route;

  it("is for whom it is for", async () => {
    const before = stored();
    const { operator, viewer, approver, source, recovery, stranger } = site.tokens;
    const others =
      route.role === "gateway"
        ? [operator, viewer, approver]
        : [source, recovery, stranger, ...(route.role === "operator" ? [viewer, approver] : [])];
    for (const token of others) expect((await site.call(path, { method, token, body: {} })).refused).toBe("Forbidden");
    for (const token of [undefined, "x", "fst_x", `${operator}x`, "x".repeat(5000)]) {
      expect((await site.call(path, { method, token, body: {} })).refused).toBe("Unauthenticated");
    }
    expect(stored()).toEqual(before);
  });

  it("knows no odd or unknown id", async () => {
    const before = stored();
    const odd = [
      ...["none", unknownId, "SHOP", "__proto__", "constructor", "0", "-1", "..", "%2e%2e", "..%2f..%2fsite.json"],
      ...["%00", "%zz", "%ff", encodeURIComponent("ü💥"), "a".repeat(1500), "a".repeat(3000), "x%0d%0aset-cookie:%20a"],
    ];
    for (const value of route.path.includes("{") ? odd : []) {
      const answer = await site.call(filled(route.path, value), { method, token: tokenFor(site, route), body: {} });
      expectRefused(answer, value);
      expect(answer.headers["set-cookie"]).toBeUndefined();
    }
    expect(stored()).toEqual(before);
  });

  it("knows no other method", async () => {
    const taken = routes.filter((other) => other.path === route.path).map((other) => other.method);
    for (const other of ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]) {
      if (taken.includes(other)) continue;
      expectRefused(await site.call(path, { method: other, token: tokenFor(site, route) }), other);
    }
  });
});

/** Calls that read a JSON body, with one that is near what they want; "<vpg>" stands for the VPG's id. */
const bodies: readonly {
  readonly path: string;
  readonly token: "operator" | "approver" | "source";
  readonly body: object;
}[] = [
  { path: "/v1/tokens", token: "operator", body: { name: "someone", role: "viewer" } },
  {
    path: "/v1/peers",
    token: "operator",
    body: { name: "paris", siteId: unknownId, url: "https://paris.example.com", region: "eu-west-3", journal: true },
  },
  { path: `/v1/vpgs/${servedVpg}/checkpoints`, token: "operator", body: { tag: "x" } },
  {
    path: `/v1/vpgs/${servedVpg}/operations`,
    token: "operator",
    body: { kind: "failover-test", requestId: unknownId, options: { checkpoint: { kind: "latest" } } },
  },
  {
    path: `/v1/operations/${unknownId}/decision`,
    token: "operator",
    body: { decision: "stop", success: true, notes: "" },
  },
  {
    path: "/v1/vpgs",
    token: "operator",
    body: {
      name: "second",
      protectedSite: "paris",
      sourceGateway: "paris-gw",
      recoveryGateway: null,
      compute: "none",
      targetRpoMs: 5000,
      historyMs: 60_000,
      vms: [{ name: "db", volumes: [{ name: "data", sizeBytes: 512, sectorBytes: 512 }] }],
      bootDelays: [],
      trigger: {
        policy: "notify",
        dependsOn: [],
        alarms: ["paris-down"],
        commitPolicy: { action: "commit", afterMs: 0 },
      },
    },
  },
  { path: `/v1/incidents/${unknownId}/approval`, token: "approver", body: { decision: "approved", notes: "" } },
  {
    path: "/v1/protected-sites/nowhere/failover",
    token: "operator",
    body: {
      requestId: unknownId,
      options: {
        checkpoint: { kind: "latest" },
        shutdown: { policy: "none", graceMs: 0 },
        commitPolicy: { action: "none" },
      },
      concurrency: 1,
    },
  },
  {
    path: "/gateway/v1/heartbeat",
    token: "source",
    body: { version: "1", sampledAt: 1, processId: unknownId, streams: [], attachedOperations: [] },
  },
  { path: "/gateway/v1/commands/x.tag", token: "source", body: { state: "done", result: {} } },
  {
    path: "/gateway/v1/hashes",
    token: "source",
    body: { vpgId: "<vpg>", volume: 1, page: 0, upTo: { session: 1, sequence: 1 } },
  },
  {
    path: "/gateway/v1/sessions",
    token: "source",
    body: {
      vpgId: "<vpg>",
      nonce: unknownId,
      lastSession: 0,
      acknowledgedBatch: -1,
      cleanlyClosed: false,
      acceptRegression: false,
      volumes: [{ vmName: servedVm, name: "data", sizeBytes, sectorBytes: 512 }],
    },
  },
];

describe.each(bodies)("the body of POST $path", ({ path, token, body: near }) => {
  const bodyNow = (): object => JSON.parse(JSON.stringify(near).replaceAll("<vpg>", site.vpgId));
  const post = (sent: Uint8Array | string | object) =>
    site.call(path, { method: "POST", token: site.tokens[token], body: sent });

  it("is JSON of the right shape and a bounded size", async () => {
    const before = stored();
    const body = bodyNow();
    const text = JSON.stringify(body);
    const wrong = [
      ...["{", "[]", "null", "1", '"x"', "NaN", "{}}", `${text},`, text.slice(0, -1), `\u{feff}x${text}`, "'", "\0"],
      ...[Buffer.from([0xff, 0xfe, 0x7b]), Buffer.from(text, "utf16le"), "[".repeat(100_000), '{"a":'.repeat(50_000)],
      ...[`{"__proto__":${text}}`, `{"constructor":1}`, { ...body, surprise: 1 }, [body], { body }],
      `{"x":"${"x".repeat(2 ** 20)}"}`,
    ];
    for (const sent of wrong) expectRefused(await post(sent), String(sent).slice(0, 60));
    expect(stored()).toEqual(before);
  });

  it("may have any value at any place: taken or refused, never a fault", async () => {
    const body = bodyNow();
    const places = leavesOf(body);
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom(
        -1,
        0,
        1e308,
        2 ** 53,
        2 ** 53 - 1,
        2 ** 32,
        -(2 ** 31),
        0.5,
        "",
        "x".repeat(10_000),
        "\u0000",
        null,
      ),
      fc.constantFrom("../..", "__proto__", "a\nb", "\ud800", unknownId, servedVpg),
    );
    const changes = fc.array(fc.tuple(fc.constantFrom(...places), value), { minLength: 1, maxLength: 3 });
    await holds(
      fc.asyncProperty(changes, async (changed) => {
        const answer = await post(changed.reduce((sum, [place, other]) => replaced(sum, place, other), body));
        if (answer.status >= 300) expectRefused(answer, JSON.stringify(changed));
      }),
      { numRuns: 100 },
    );
    await expectAlive();
  });
});

it("a gateway that claims sessions without end does not use up the ordinals", async () => {
  const before = stored();
  for (const lastSession of [2 ** 53 - 1, 2 ** 32 - 1, 2 ** 32 - 2, 1_000_000_000]) {
    const body = {
      vpgId: site.vpgId,
      nonce: unknownId.replace("9", "8"),
      lastSession,
      acknowledgedBatch: -1,
      cleanlyClosed: false,
      acceptRegression: true,
      volumes: [{ vmName: servedVm, name: "data", sizeBytes, sectorBytes: 512 }],
    };
    const answer = await site.call("/gateway/v1/sessions", { method: "POST", token: site.tokens.source, body });
    expect(answer.refused).toBe("InvalidInput");
  }
  expect(stored()).toEqual(before);
});

/** Paths to every value inside, objects and arrays included. */
function leavesOf(value: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [path];
  const inner = Object.entries(value).flatMap(([key, each]) => leavesOf(each, [...path, key]));
  return path.length === 0 ? inner : [path, ...inner];
}

/** A copy with another value at a path. */
function replaced(value: unknown, [key, ...rest]: readonly string[], other: unknown): object {
  const copy: object = Array.isArray(value) ? [...value] : { ...Object(value) };
  const inner: unknown = key === undefined ? undefined : Reflect.get(copy, key);
  if (key !== undefined) Reflect.set(copy, key, rest.length === 0 ? other : replaced(inner, rest, other));
  return copy;
}

describe("keys of journal objects", () => {
  const keys = [
    ...[
      "site.json",
      "../site.json",
      "..%2fsite.json",
      "%2e%2e/site.json",
      "journal/../site.json",
      ".tmp/x",
      "/etc/passwd",
    ],
    ...["tokens/operator.json", "terms", "sessions/", "journal/", "journal//", "journal/%00", "..\\..\\site.json"],
    ...["../../berlin/operator.token", "....//....//operator.token", `journal/${unknownId}/1/1/0`, "journal/x/1/1/0"],
  ];
  it.each(keys)("%s", async (key) => {
    const asks = [
      [`/v1/vpgs/${servedVpg}/objects/${key}`, site.tokens.operator],
      [`/gateway/v1/vpgs/${servedVpg}/objects/${key}`, site.tokens.recovery],
    ] as const;
    for (const [path, token] of asks) expectRefused(await site.call(path, { token }), path);
  });

  it("that are right are read by the VPG's gateways and by operators alone", async () => {
    const path = `/vpgs/${servedVpg}/objects/journal/${site.vpgId}/1/1/000000000000`;
    expect((await site.call(`/gateway/v1${path}`, { token: site.tokens.stranger })).refused).toBe("Forbidden");
    expect((await site.call(`/v1${path}`, { token: site.tokens.viewer })).refused).toBe("Forbidden");
  });
});

describe("queries", () => {
  const odd = [
    "",
    "x",
    "-1",
    "0",
    "1e9",
    "1.5",
    "9007199254740993",
    "99999999999999999999",
    "%00",
    "%ff",
    "..",
    "null",
  ];
  const asks = [
    ...["from", "to", "nearest", "limit", "cursor", "tagged"].map(
      (name) => `/v1/vpgs/${servedVpg}/checkpoints?${name}=`,
    ),
    ...["kind=time&value", "kind=id&value", "kind=tag&value", "kind"].map(
      (name) => `/v1/vpgs/${servedVpg}/checkpoints/resolve?${name}=`,
    ),
    ...["session=1&sequence", "sequence=1&session", "session=1&sequence=1&cursor"].map(
      (name) => `/v1/vpgs/${servedVpg}/batches?${name}=`,
    ),
    ...["vpg", "open"].map((name) => `/v1/operations?${name}=`),
  ];
  it.each(asks)("%s", async (ask) => {
    for (const value of odd) {
      const answer = await site.call(`${ask}${value}`, { token: site.tokens.operator });
      if (answer.status !== 200) expectRefused(answer, value);
    }
    expectRefused(await site.call(`${ask}${"x".repeat(5000)}`, { token: site.tokens.operator }), "a long one");
  });
});

describe("HTTP that isn't", () => {
  /** What the server says to these bytes before it hangs up, or in the time that an answer takes. */
  const raw = (bytes: string): Promise<string> => {
    const { hostname, port } = new URL(site.url);
    return new Promise((resolve) => {
      let text = "";
      const socket = connect(Number(port), hostname, () => socket.write(bytes));
      socket.on("data", (part) => {
        text += part;
        socket.end();
      });
      // A reset is an answer too: what counts is that the next client is served.
      socket.on("error", () => socket.destroy());
      socket.on("close", () => resolve(text));
    });
  };
  const head = "POST /v1/tokens HTTP/1.1\r\nHost: x\r\n";
  it.each([
    ["nonsense", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", /^HTTP\/1\.1 400/],
    ["an old protocol", "GET /v1/status\r\n\r\n", /^HTTP\/1\.1 40[01]/],
    ["two lengths", `${head}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}`, /^HTTP\/1\.1 400/],
    [
      "a length and chunks",
      `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      /^HTTP\/1\.1 400/,
    ],
    ["a length below zero", `${head}Content-Length: -5\r\n\r\n`, /^HTTP\/1\.1 400/],
    ["a length beyond all numbers", `${head}Content-Length: 99999999999999999999999\r\n\r\n`, /^HTTP\/1\.1 400/],
    ["a chunk that isn't", `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, /^HTTP\/1\.1 400|^$/],
    ["no host", "GET /v1/status HTTP/1.1\r\n\r\n", /^HTTP\/1\.1 400/],
    ["headers of 200 KB", `${head}X: ${"a".repeat(200_000)}\r\n\r\n`, /^HTTP\/1\.1 431|^$/],
    ["ten thousand headers", `${head}${"X: a\r\n".repeat(10_000)}\r\n`, /^HTTP\/1\.1 431|^$/],
    ["a path of 20 KB", `GET /${"a".repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, /^HTTP\/1\.1 431|^$/],
    ["another site's address", "GET http://other/v1/status HTTP/1.1\r\nHost: other\r\n\r\n", /^HTTP\/1\.1 401/],
    ["a request for a tunnel", "CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n", /^$|^HTTP\/1\.1 4/],
    [
      "a wish for another protocol",
      "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
      /^HTTP\/1\.1 401/,
    ],
  ])("%s", async (_, bytes, answer) => {
    expect(await raw(bytes)).toMatch(answer);
    await expectAlive();
  });
});
