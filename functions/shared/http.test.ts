import { expect, it } from "vitest";
import { type HttpEvent, octets } from "./http.ts";

const event: HttpEvent = {
  rawPath: "/",
  rawQueryString: "",
  headers: {},
  isBase64Encoded: false,
  requestContext: { requestId: "r", timeEpoch: 0, http: { method: "GET" } },
};

it("bytes are base64 for a function URL and themselves for a host that gave bytes", () => {
  const bytes = Buffer.from([0, 255, 7]);
  expect(octets(event, bytes)).toMatchObject({ body: "AP8H", isBase64Encoded: true });
  expect(octets({ ...event, bytes: new Uint8Array(0) }, bytes).bytes).toBe(bytes);
});
