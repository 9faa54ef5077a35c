import { connect } from "node:net";
import { expect, it } from "vitest";
import { json } from "../../functions/shared/http.ts";
import { makeSite } from "../../test/kit/site.ts";
import { startHttpServer } from "./http-server.ts";

it("waits at its end for functions whose callers are gone", async () => {
  const [entered, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let ended = false;
  const handler = async () => {
    entered.resolve();
    await release.promise;
    ended = true;
    return json({});
  };
  const mount = { prefix: "/", functionName: "slow", handler, bodyBytesMax: 100 };
  const server = await startHttpServer(makeSite(), [mount], { host: "127.0.0.1", port: 0 }, undefined);
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  socket.write("GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
  await entered.promise;
  socket.destroy();
  const closing = server.close().then(() => expect(ended).toBe(true));
  // Long enough for a server that doesn't wait to have closed.
  await new Promise((resolve) => setTimeout(resolve, 100));
  release.resolve();
  await closing;
}, 5000);

it("tells a function when the request began, before its body came", async () => {
  const site = makeSite();
  const mount = {
    prefix: "/",
    functionName: "echo",
    handler: async (event: { requestContext: { timeEpoch: number } }) => json({ at: event.requestContext.timeEpoch }),
    bodyBytesMax: 100,
  };
  const server = await startHttpServer(site, [mount], { host: "127.0.0.1", port: 0 }, undefined);
  const beganAt = site.clock.now();
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  let text = "";
  try {
    const said = (what: string): Promise<void> =>
      new Promise((resolve) => {
        const look = (part = ""): void => {
          text += part;
          if (text.includes(what)) resolve();
        };
        socket.on("data", (part) => look(part.toString()));
        look();
      });
    socket.write("PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    // The server says so when it has the headers and waits for the body.
    await said("100 Continue");
    await site.clock.advance(30_000);
    socket.write("body");
    await said("}");
    expect(text).toContain(`{"at":${beganAt}}`);
  } finally {
    socket.destroy();
    await server.close();
  }
}, 5000);
