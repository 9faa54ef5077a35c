import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type HttpEvent, octets } from "../../functions/shared/http.ts";
import { makeSite } from "../../test/kit/site.ts";
import { type HttpServer, startHttpServer } from "./http-server.ts";
import { siteLimits } from "./limits.ts";

const bytesMax = siteLimits.pooledBodyBytes;
let server: HttpServer;
beforeAll(async () => {
  const mount = {
    prefix: "/",
    functionName: "echo",
    // A copy: the body's memory is used again once the reply is made.
    handler: async (event: HttpEvent) => octets(event, Uint8Array.from(event.bytes ?? [])),
    bodyBytesMax: bytesMax,
  };
  server = await startHttpServer(makeSite(), [mount], { host: "127.0.0.1", port: 0 }, undefined);
});
afterAll(() => server.close());

async function echoed(body: Uint8Array | ReadableStream): Promise<Buffer> {
  const reply = await fetch(server.url, { method: "PUT", body, duplex: "half" });
  return Buffer.from(await reply.arrayBuffer());
}

const inPieces = (bytes: Uint8Array): ReadableStream =>
  new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 100_000) controller.enqueue(bytes.subarray(at, at + 100_000));
      controller.close();
    },
  });

it("bodies of any length, announced or not, reach their functions whole, many at once and again", async () => {
  const lengths = [0, 1, 65_535, 65_536, 65_537, 1_000_000, bytesMax];
  for (let round = 0; round < 3; round += 1) {
    const bodies = [...lengths, ...lengths, ...lengths].map((length) => randomBytes(length));
    const replies = await Promise.all(
      bodies.map((body, index) => echoed(index % 3 === 0 ? inPieces(body) : Uint8Array.from(body))),
    );
    for (const [index, body] of bodies.entries()) expect(replies[index]?.equals(body), `${body.length}`).toBe(true);
  }
});

it("one that is longer than it may be is refused, announced or not", async () => {
  const body = randomBytes(bytesMax + 1);
  expect((await echoed(inPieces(body))).toString()).toContain("larger than");
  const reply = await fetch(server.url, { method: "PUT", headers: { "content-length": String(body.length) }, body });
  expect(reply.status).toBe(400);
});
