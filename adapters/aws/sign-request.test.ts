import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import {
  CloudFormationClient,
  CreateStackCommand,
  DescribeStacksCommand,
  waitUntilStackCreateComplete,
} from "@aws-sdk/client-cloudformation";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { SiteClient as CliClient } from "../../cli/site-client.ts";
import { SiteClient as GatewayClient } from "../../gateway/control/site-client.ts";
import { ministackIsInstalled } from "../../scripts/local-aws/ministack.ts";
import { useLocalAws } from "../../test/kit/local-aws.ts";
import { authOf, authorize, iamAccess, refusalOf } from "../site-access.ts";

const signatureScript = fileURLToPath(new URL("../../test/kit/signature.py", import.meta.url));
const python = fileURLToPath(new URL("../../.cache/peers/ministack/bin/python", import.meta.url));

/** Answers with what it was told of the request; to a PUT as if it were a batch, with the body's length and hash. */
const echo = `const { createHash } = require("node:crypto");
exports.handler = async ({ body, isBase64Encoded, rawPath, rawQueryString, requestContext }) => {
  const bytes = Buffer.from(body ?? "", isBase64Encoded ? "base64" : "utf8");
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const batch = { batch: bytes.length, sha256, duplicate: false };
  const all = { body, isBase64Encoded, rawPath, rawQueryString, userArn: requestContext.authorizer.iam.userArn };
  const answer = requestContext.http.method === "PUT" ? batch : all;
  return { statusCode: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(answer) };
};`;

const template = {
  Resources: {
    Role: {
      Type: "AWS::IAM::Role",
      Properties: {
        AssumeRolePolicyDocument: {
          Version: "2012-10-17",
          Statement: [{ Effect: "Allow", Principal: { Service: "lambda.amazonaws.com" }, Action: "sts:AssumeRole" }],
        },
      },
    },
    Echo: {
      Type: "AWS::Lambda::Function",
      Properties: {
        Runtime: "nodejs22.x",
        Handler: "index.handler",
        Role: { "Fn::GetAtt": ["Role", "Arn"] },
        Code: { ZipFile: echo },
      },
    },
    Url: { Type: "AWS::Lambda::Url", Properties: { AuthType: "AWS_IAM", TargetFunctionArn: { Ref: "Echo" } } },
  },
  Outputs: { Url: { Value: { "Fn::GetAtt": ["Url", "FunctionUrl"] } } },
};

const echoed = z.object({
  body: z.string().nullish(),
  isBase64Encoded: z.boolean(),
  rawPath: z.string(),
  rawQueryString: z.string(),
  userArn: z.string(),
});

describe("signed requests to a function URL", () => {
  const local = useLocalAws({ authorization: true });
  let url = "";
  const access = () => iamAccess(url, local.aws.region);
  beforeAll(async () => {
    if (!ministackIsInstalled()) return;
    const cloud = new CloudFormationClient(local.place);
    await cloud.send(
      new CreateStackCommand({
        StackName: "echo",
        TemplateBody: JSON.stringify(template),
        Capabilities: ["CAPABILITY_IAM"],
      }),
    );
    await waitUntilStackCreateComplete({ client: cloud, maxWaitTime: 60, minDelay: 1 }, { StackName: "echo" });
    const { Stacks } = await cloud.send(new DescribeStacksCommand({ StackName: "echo" }));
    url = Stacks?.[0]?.Outputs?.[0]?.OutputValue ?? "";
    for (const [name, value] of Object.entries(local.aws.env)) vi.stubEnv(name, value);
  }, 90_000);

  it("are let through, with an odd path and query and text", async () => {
    const asked = await new CliClient(url, access()).post("/v1/x%20y?b=2&a=1&a=ä", echoed, { text: "é" });
    expect(asked).toMatchObject({
      rawQueryString: "b=2&a=1&a=%C3%A4",
      userArn: expect.stringMatching(/^arn:aws:iam::/),
    });
    expect(Buffer.from(asked.body ?? "", asked.isBase64Encoded ? "base64" : "utf8").toString()).toBe('{"text":"é"}');
  });

  it("of a gateway are let through with the bytes of a batch, to the URL that is for them", async () => {
    const gateway = new GatewayClient({ url: "http://127.0.0.1:9", batchesUrl: url, access: access() }, 1);
    const sent = new Uint8Array(70_000).map((_, place) => place * 7);
    const place = { vpgId: "01k3s1te000000000000000001", term: 1, session: 2, batch: 3 };
    expect(await gateway.putBatch(place, sent, 5)).toEqual({
      batch: sent.length,
      sha256: createHash("sha256").update(sent).digest("hex"),
      duplicate: false,
    });
    await gateway.close();
  });

  it.each([
    { method: "GET", path: "/v1/vpgs/shop/checkpoints?to=2&from=1&tagged=%C3%A4%20b&from=0", body: undefined },
    { method: "POST", path: "/v1/commands/a%2Fb c", body: '{"text":"é"}' },
    { method: "PUT", path: "/gateway/v1/batches/v/1/2/3", body: "bytes" },
  ])("$method $path is signed as botocore signs it", async ({ method, path, body }) => {
    const { region, env } = local.aws;
    const sent = new URL(`https://abc123.lambda-url.${region}.on.aws${path}`);
    const headers = { "content-type": "application/octet-stream" };
    const signed = await authorize({ kind: "iam", region }, { method, url: sent, headers, body });
    const { authorization = "", ...others } = signed.headers;
    expect(others["host"]).toBe(`abc123.lambda-url.${region}.on.aws`);
    const keys = { accessKeyId: env["AWS_ACCESS_KEY_ID"], secretAccessKey: env["AWS_SECRET_ACCESS_KEY"] };
    const { stdout } = spawnSync(python, [signatureScript], {
      input: JSON.stringify({ method, url: sent.href, headers: others, body: body ?? "", region, ...keys }),
    });
    expect(authorization).toMatch(/Signature=[0-9a-f]{64}$/);
    expect(authorization.split("Signature=")[1]).toBe(stdout.toString());
  });
});

describe("a function URL and a local AWS", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("meet by the Host header, as no DNS knows the URL's name", async () => {
    const hosts: string[] = [];
    const server = createServer((request, response) => {
      hosts.push(`${request.method} ${request.headers.host} ${request.url}`);
      response.end("{}");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    vi.stubEnv("AWS_ENDPOINT_URL", `http://127.0.0.1:${port}`);
    vi.stubEnv("AWS_ACCESS_KEY_ID", "local");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "local");
    const url = "https://abc123.lambda-url.eu-central-1.on.aws";
    const access = iamAccess(url, undefined);
    await new CliClient(url, access).get("/v1/status?a=1", z.object({}));
    const gateway = new GatewayClient({ url, access }, 1);
    await gateway.reportCommand("c", { state: "done", result: {} });
    await gateway.close();
    server.closeAllConnections();
    server.close();
    const host = "abc123.lambda-url.eu-central-1.on.aws";
    expect(hosts).toEqual([`GET ${host} /v1/status?a=1`, `POST ${host} /gateway/v1/commands/c`]);
  });

  it.each([
    ["https://abc.lambda-url.eu-west-1.on.aws/", undefined, "iam"],
    ["https://abc.lambda-url.eu-west-1.on.aws/", "token", "token"],
    ["https://site.example.com", undefined, "token"],
    ["https://abc.lambda-url.eu-west-1.on.aws.example.com", undefined, "token"],
    ["http://127.0.0.1:7700", "iam", "iam"],
  ] as const)("%s with --auth %s takes %s", (url, auth, kind) => {
    expect(authOf(url, auth)).toBe(kind);
  });
});

describe("a site's refusal by AWS", () => {
  const access = iamAccess("https://abc.lambda-url.eu-central-1.on.aws/", undefined);
  it("says that the clock is wrong, and by how much", () => {
    const answer = {
      status: 403,
      text: '{"message":"Signature expired: 20260101T000000Z is now earlier than ..."}',
      date: "Thu, 01 Jan 2026 00:10:00 GMT",
    };
    expect(refusalOf(access, answer, Date.UTC(2026, 0, 1))?.message).toContain("clock is wrong by 600 s");
  });
});
