import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PeerAddress } from "#core/ports.ts";
import { VirtualClock } from "../test/kit/virtual-clock.ts";
import { HttpPeers } from "./http-peers.ts";

interface Heard {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

const heard: Heard[] = [];
let answer: (response: ServerResponse) => void;
const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on("data", (part: Buffer) => parts.push(part));
  request.on("end", () => {
    const { method, url, headers } = request;
    heard.push({ method, url, headers, body: Buffer.concat(parts).toString() });
    answer(response);
  });
});

const says =
  (status: number, text: string, headers: Readonly<Record<string, string>> = {}) =>
  (response: ServerResponse): void =>
    void response.writeHead(status, headers).end(text);

let berlin: PeerAddress;
beforeEach(async () => {
  heard.length = 0;
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  berlin = { name: "berlin", url: `http://127.0.0.1:${address.port}`, region: null };
});
afterEach(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const withToken = (tokenOf: (peer: string) => Promise<string | undefined>) =>
  new HttpPeers({ tokenOf, clock: new VirtualClock() });
const peers = withToken(async (peer) => `token-of-${peer}`);
const started = { method: "POST", path: "/v1/vpgs/x/reverse-offer/started", body: { n: 3 } } as const;

describe("HttpPeers", () => {
  it("sends the request with the peer's own token, as it is at that moment, and answers its JSON", async () => {
    answer = says(200, '{"state":"closed"}');
    const tokens = ["old", "new"];
    const changing = withToken(async () => tokens.shift());
    expect(await changing.ask(berlin, started)).toEqual({ state: "closed" });
    await changing.ask(berlin, { method: "DELETE", path: "/v1/vpgs/x/reverse-offer?n=3" });
    expect(heard).toMatchObject([
      {
        ...{ method: "POST", url: started.path, body: '{"n":3}' },
        headers: { authorization: "Bearer old", "content-type": "application/json" },
      },
      { method: "DELETE", url: "/v1/vpgs/x/reverse-offer?n=3", body: "", headers: { authorization: "Bearer new" } },
    ]);
    expect(heard[1]?.headers["content-type"]).toBeUndefined();
  });

  it("signs for the peer's region and shows no token there", async () => {
    answer = says(200, "{}");
    vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret");
    await peers.ask({ ...berlin, region: "eu-central-1" }, started);
    expect(heard[0]?.headers.authorization).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/lambda\/aws4_request/,
    );
    expect(heard[0]?.body).toBe('{"n":3}');
  });

  it("says how to give it a token when it has none, and sends nothing", async () => {
    const none = withToken(async () => undefined);
    await expect(none.ask(berlin, started)).rejects.toMatchObject({
      name: "InvalidInput",
      message: expect.stringContaining("farshore site peer add berlin"),
    });
    expect(heard).toEqual([]);
  });

  it("throws the peer's refusal by its name", async () => {
    answer = says(403, '{"error":{"name":"Forbidden","message":"not you","details":{"peer":"recovery"}}}');
    await expect(peers.ask(berlin, started)).rejects.toMatchObject({
      ...{ name: "Forbidden", message: "not you", details: { peer: "recovery" } },
    });
  });

  it("tells what AWS refused from what the peer refused", async () => {
    answer = says(403, '{"Message":"Forbidden"}');
    vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret");
    await expect(peers.ask({ ...berlin, region: "eu-central-1" }, started)).rejects.toMatchObject({
      name: "Forbidden",
      message: expect.stringContaining("lambda:InvokeFunctionUrl"),
    });
  });

  it.each([
    ["a page that is no JSON", says(200, "<html>login</html>"), /answered 200, not as a site does/],
    ["a gateway's error page", says(502, "bad gateway"), /answered 502/],
    ["an answer far larger than any of a site", says(200, JSON.stringify("x".repeat(70_000))), /not as a site does/],
    ["an answer without an end", endless, /not as a site does/],
    ["a redirection, which would carry the token elsewhere", says(307, "", { location: "/other" }), /no answer/],
    ["an answer that breaks off", brokenOff, /broke off its answer/],
    ["a connection that is cut", (response: ServerResponse) => void response.destroy(), /no answer from peer berlin/],
  ])("takes %s for no answer: it is asked again later", async (_what, given, message) => {
    answer = given;
    await expect(peers.ask(berlin, started)).rejects.toMatchObject({
      name: "Transient",
      message: expect.stringMatching(message),
    });
    expect(heard).toHaveLength(1);
  });
});

/** Goes on for as long as somebody reads. */
function endless(response: ServerResponse): void {
  const part = Buffer.alloc(64 * 1024, "x");
  const more = (): void => {
    while (!response.destroyed && response.write(part));
  };
  response.writeHead(200).on("drain", more);
  more();
}

function brokenOff(response: ServerResponse): void {
  response.writeHead(200, { "content-length": "1000" }).write('{"state":');
  setImmediate(() => response.destroy());
}
