import { describe, expect, it } from "vitest";
import { loadedBy, read, sources } from "../test/house/sources.ts";

/**
 * What a site calls of AWS at any time, a failover included. All of it is of a data plane, which stands by itself in its region;
 * control planes (IAM, CloudFormation, creating or changing functions, tables and buckets, DNS) may be away when a region is in trouble.
 */
const calls: Readonly<Record<string, readonly string[]>> = {
  "client-s3": [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "DeleteObject",
    "DeleteObjects",
    "GetObject",
    "HeadObject",
    "ListObjectVersions",
    "ListObjectsV2",
    "PutObject",
    "UploadPart",
  ],
  "client-dynamodb": ["DeleteItem", "GetItem", "Query", "TransactWriteItems", "UpdateItem"],
  "client-eventbridge": ["PutEvents"],
  "client-sfn": [
    "DescribeExecution",
    "SendTaskFailure",
    "SendTaskHeartbeat",
    "SendTaskSuccess",
    "StartExecution",
    "StopExecution",
  ],
};

/** `client Command` of every SDK command that a source imports. */
function commandsOf(code: string): string[] {
  const imports = code.matchAll(/import\s*(?:type\s*)?\{([^}]*)\}\s*from\s*"@aws-sdk\/(client-[a-z0-9-]+)"/g);
  return [...imports].flatMap(([, names = "", client = ""]) =>
    [...names.matchAll(/\b(\w+)Command\b(?!\w)/g)].map(([, name]) => `${client} ${name}`),
  );
}

const allowed = new Set(Object.entries(calls).flatMap(([client, names]) => names.map((name) => `${client} ${name}`)));

const handlers = sources.filter((path) => /^functions\/.*(?<!\.test)\.ts$/.test(path));

describe("functions", () => {
  const used = new Set([...loadedBy(handlers)].flatMap((path) => commandsOf(read(path))));

  it("call data planes only, so that a failover needs no control plane", () => {
    expect([...used].filter((call) => !allowed.has(call))).toEqual([]);
  });

  it("call what is listed here", () => {
    expect([...allowed].filter((call) => !used.has(call))).toEqual([]);
  });

  it("would be caught with a call of a control plane", () => {
    const code = 'import { CreateTableCommand, type GetItemCommandInput } from "@aws-sdk/client-dynamodb";';
    expect(commandsOf(code)).toEqual(["client-dynamodb CreateTable"]);
    expect(allowed.has("client-dynamodb CreateTable")).toBe(false);
    expect(allowed.has(commandsOf('import { CreateRoleCommand } from "@aws-sdk/client-iam";')[0] ?? "")).toBe(false);
  });
});
