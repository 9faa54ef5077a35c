import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type AccountQuotas, readAccountQuotas } from "./account-quotas.ts";

afterEach(() => vi.unstubAllEnvs());

const quotas = [
  { QuotaName: "Table-level read throughput limit", Value: 80_000 },
  { QuotaName: "Table-level write throughput limit", Value: 60_000 },
  { QuotaName: "Concurrent control plane operations", Value: 500 },
  { QuotaName: "StartExecution throttle token bucket size", Value: 900 },
];

/** The quotas as read from an AWS that answers like this. */
async function readFrom(answer: RequestListener): Promise<AccountQuotas> {
  const server = createServer((request, reply) => {
    reply.setHeader("content-type", "application/json");
    answer(request, reply);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    vi.stubEnv("AWS_ENDPOINT_URL", `http://127.0.0.1:${portOf(server.address())}`);
    vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
    return await readAccountQuotas("us-east-1");
  } finally {
    server.close();
  }
}

const isLambda = (url: string | undefined): boolean => url?.includes("account-settings") === true;

describe("the quotas of an account", () => {
  it("are what AWS tells, and no more", async () => {
    const { read, problems } = await readFrom(({ url }, reply) => {
      reply.end(JSON.stringify(isLambda(url) ? { AccountLimit: { ConcurrentExecutions: 10 } } : { Quotas: quotas }));
    });
    expect(problems).toEqual([]);
    expect(read).toEqual({
      lambdaConcurrency: 10,
      dynamodbTableReads: 80_000,
      dynamodbTableWrites: 60_000,
      startsAtOnce: 900,
    });
  });

  it("that the caller may not read are told by the action that is missing", async () => {
    const { read, problems } = await readFrom(({ url }, reply) => {
      if (!isLambda(url)) reply.statusCode = 400;
      const refusal = { __type: "AccessDeniedException", Message: "not authorized" };
      reply.end(JSON.stringify(isLambda(url) ? { AccountLimit: { ConcurrentExecutions: 10 } } : refusal));
    });
    expect(read).toEqual({ lambdaConcurrency: 10 });
    expect(problems).toEqual([
      expect.stringContaining("servicequotas:ListServiceQuotas of dynamodb: "),
      expect.stringContaining("servicequotas:ListServiceQuotas of states: "),
    ]);
  });
});

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return address.port;
}
