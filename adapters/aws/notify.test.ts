import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { z } from "zod";
import type { Notice } from "#core/ports.ts";
import { makeAwsClients } from "./clients.ts";
import { EventBridgeNotify } from "./notify.ts";

const notice: Notice = {
  ...{ noticeId: "1-0-unreachable", kind: "unreachable", siteName: "berlin", vpgName: "shop", incidentId: "1" },
  text: "shop: its source has been silent for 5m",
};
const entriesSchema = z.object({ Entries: z.array(z.record(z.string(), z.string())) });

let server: Server;
let asked: unknown[];
/** What PutEvents answers, one a call; the last one from then on. */
let answers: { readonly status: number; readonly body: object }[];

beforeEach(async () => {
  asked = [];
  answers = [{ status: 200, body: { FailedEntryCount: 0, Entries: [{ EventId: "e" }] } }];
  server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    asked.push(JSON.parse(Buffer.concat(parts).toString("utf8")));
    const { status, body } = (answers.length > 1 ? answers.shift() : answers[0]) ?? { status: 500, body: {} };
    response.writeHead(status, { "content-type": "application/x-amz-json-1.1" }).end(JSON.stringify(body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function notify(bus: string | undefined): EventBridgeNotify {
  const { port } = server.address() as AddressInfo;
  const credentials = { accessKeyId: "x", secretAccessKey: "x" };
  const { eventBridge } = makeAwsClients({ endpoint: `http://127.0.0.1:${port}`, region: "eu-west-1", credentials });
  return new EventBridgeNotify({ client: eventBridge, bus });
}

it("is an event on the site's own bus", async () => {
  await notify("farshore-berlin").publish(notice);
  const [{ Entries: [entry] = [] } = { Entries: [] }] = z.array(entriesSchema).parse(asked);
  expect(entry).toMatchObject({ EventBusName: "farshore-berlin", Source: "farshore.site" });
  expect(JSON.parse(entry?.["Detail"] ?? "")).toEqual(notice);
});

it("has told nobody when the call went well and the entry did not", async () => {
  answers = [{ status: 200, body: { FailedEntryCount: 1, Entries: [{ ErrorCode: "ThrottlingException" }] } }];
  await expect(notify("b").publish(notice)).rejects.toMatchObject({ name: "Transient" });
});

it("says that the bus is missing, or refused", async () => {
  await expect(notify(undefined).publish(notice)).rejects.toMatchObject({ name: "InvalidInput" });
  answers = [{ status: 400, body: { __type: "AccessDeniedException", message: "not allowed" } }];
  await expect(notify("b").publish(notice)).rejects.toMatchObject({ name: "Forbidden" });
});
