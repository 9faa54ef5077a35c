import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it, vi } from "vitest";
import { readAccountQuotas } from "./account-quotas.ts";

afterEach(() => vi.unstubAllEnvs());

it("takes what AWS tells of an account, and leaves the rest to the defaults", async () => {
  const quotas = [
    { QuotaName: "Table-level read throughput limit", Value: 80_000 },
    { QuotaName: "Table-level write throughput limit", Value: 60_000 },
    { QuotaName: "Concurrent control plane operations", Value: 500 },
  ];
  const server = createServer((request, reply) => {
    reply.setHeader("content-type", "application/json");
    const lambda = request.url?.includes("account-settings") === true;
    reply.end(JSON.stringify(lambda ? { AccountLimit: { ConcurrentExecutions: 10 } } : { Quotas: quotas }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    vi.stubEnv("AWS_ENDPOINT_URL", `http://127.0.0.1:${portOf(server.address())}`);
    vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
    expect(await readAccountQuotas("us-east-1")).toEqual({
      lambdaConcurrency: 10,
      dynamodbTableReads: 80_000,
      dynamodbTableWrites: 60_000,
    });
  } finally {
    server.close();
  }
});

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return address.port;
}
