import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLog, twoVolumes } from "../../test/kit/site.ts";
import { testCertificate, testKey } from "../../test/kit/test-certificate.ts";
import { rebuildSite } from "./rebuild.ts";
import { type ServedSite, serveSite } from "./serve.ts";

/** A free port of loopback. */
const listen = "127.0.0.1:0";

let dataDir: string;
let served: ServedSite | undefined;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "farshore-serve-"));
});

afterEach(async () => {
  await served?.close();
  served = undefined;
  await rm(dataDir, { recursive: true, force: true });
});

async function start(name = "recovery"): Promise<ServedSite> {
  served = await serveSite({ dataDir, name, listen, log: silentLog });
  return served;
}

async function stop(): Promise<void> {
  await served?.close();
  served = undefined;
}

async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; value: unknown }> {
  const token = (await readFile(join(dataDir, "operator.token"), "utf8")).trim();
  const reply = await fetch(`${served?.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: reply.status, value: await reply.json() };
}

async function makeVpg(): Promise<void> {
  for (const name of ["gw-berlin", "gw-recovery"]) await ask("POST", "/v1/tokens", { name, role: "gateway" });
  expect(await ask("POST", "/v1/vpgs", twoVolumes)).toMatchObject({ status: 201, value: { status: "Initializing" } });
}

/** What the server answers to bytes that are no well-formed request. */
function raw(bytes: string): Promise<string> {
  const { hostname, port } = new URL(served?.url ?? "");
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    let text = "";
    socket.on("data", (part) => {
      text += part;
      socket.end();
    });
    socket.on("close", () => resolve(text));
    socket.on("error", reject);
  });
}

describe("serveSite", () => {
  it("is the same site at every start, with a token that only its owner reads", async () => {
    const first = await start();
    expect((await stat(first.operatorTokenFile)).mode & 0o777).toBe(0o600);
    await makeVpg();
    await stop();
    const second = await start();
    expect(second.siteId).toBe(first.siteId);
    expect(await ask("GET", "/v1/status")).toMatchObject({
      status: 200,
      value: { site: { siteId: first.siteId, name: "recovery" }, vpgs: [{ name: "shop", substatus: "Creating" }] },
    });
  });

  it("lets one process at a time have the directory, and keeps its name", async () => {
    await start();
    const again = serveSite({ dataDir, name: "recovery", listen, log: silentLog });
    await expect(again).rejects.toMatchObject({ name: "DirectoryInUse" });
    await expect(rebuildSite({ dataDir })).rejects.toMatchObject({ name: "DirectoryInUse" });
    await stop();
    await expect(start("other")).rejects.toThrow(/belongs to|is the site/);
  });

  it.each(["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0", "127.0.0.1", "127.0.0.1:70000", ":1"])(
    "refuses to listen on %s without TLS",
    async (address) => {
      const refused = serveSite({ dataDir, name: "recovery", listen: address, log: silentLog });
      await expect(refused).rejects.toMatchObject({ name: "InvalidInput" });
    },
  );

  it("speaks TLS with a certificate, as it must beyond loopback", async () => {
    const [cert, key] = [join(dataDir, "cert.pem"), join(dataDir, "key.pem")];
    await Promise.all([writeFile(cert, testCertificate), writeFile(key, testKey)]);
    served = await serveSite({ dataDir, name: "recovery", listen: "0.0.0.0:0", tls: { cert, key }, log: silentLog });
    expect(served.url).toMatch(/^https:\/\/0\.0\.0\.0:\d+$/);
    const dispatcher = new Agent({ connect: { ca: testCertificate } });
    const reply = await request(`${served.url.replace("0.0.0.0", "127.0.0.1")}/v1/status`, { dispatcher });
    expect(reply.statusCode).toBe(401);
    await dispatcher.destroy();
  });

  it("answers bad HTTP with an error and goes on", async () => {
    await start();
    expect(await raw("NONSENSE\r\n\r\n")).toMatch(/^HTTP\/1\.1 400/);
    expect(await raw(`GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(20_000)}\r\n\r\n`)).toMatch(/ 431 /);
    const announced = "PUT /gateway/v1/batches/x/1/1/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n";
    expect(await raw(announced)).toMatch(/400[\s\S]*InvalidInput/);
    const chunked = `POST /v1/tokens HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
    const chunks = `${(2 ** 20 + 1).toString(16)}\r\n${"x".repeat(2 ** 20 + 1)}\r\n0\r\n\r\n`;
    expect(await raw(chunked + chunks)).toMatch(/400[\s\S]*InvalidInput/);
    expect(await raw("GET //// HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/401/);
    expect((await ask("GET", "/v1/status")).status).toBe(200);
  });
});

describe("rebuildSite", () => {
  it("makes the table again: VPGs, tokens and gateways as they were", async () => {
    await start();
    await makeVpg();
    const vpgs = async (): Promise<unknown> => (await ask("GET", "/v1/vpgs")).value;
    // Whether a source was heard lately, so that retention has a second clock, is only of today; so is how far a scrub has come.
    const heard = (value: unknown): unknown =>
      JSON.parse(JSON.stringify(value), (key, entry) => (["waits", "scrub"].includes(key) ? undefined : entry));
    const before = heard(await vpgs());
    await stop();
    await Promise.all(["", "-wal", "-shm"].map((end) => rm(join(dataDir, `table.sqlite${end}`), { force: true })));
    await expect(start()).rejects.toMatchObject({ name: "TableBehindBucket" });
    expect(await rebuildSite({ dataDir })).toMatchObject({
      vpgs: [{ name: "shop", term: 1, sessions: 0, batches: 0, checkpoints: 0 }],
      tokens: 3,
      operations: 0,
    });
    await start();
    expect(heard(await vpgs())).toEqual(before);
    expect((await ask("GET", "/v1/gateways")).value).toMatchObject({ gateways: [{ name: "gw-berlin" }, {}] });
  });

  it("refuses a directory that is no site's", async () => {
    await expect(rebuildSite({ dataDir })).rejects.toMatchObject({ name: "InvalidInput" });
  });
});
