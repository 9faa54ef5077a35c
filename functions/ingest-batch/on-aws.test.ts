/** The function as AWS calls it: by a function URL's event, on S3 and DynamoDB, its caller known by IAM. */
import { beforeEach, describe, expect, it } from "vitest";
import { makeAwsClients } from "#adapters/aws/clients.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import type { SentBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import { registerPrincipal } from "#core/protection/principals.ts";
import { lambdaContext } from "../../cli/site/lambda-context.ts";
import { newAwsStore } from "../../test/kit/aws-store.ts";
import { useLocalAws } from "../../test/kit/local-aws.ts";
import { makeSite, openAsk, operator, twoVolumes } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import urlEvent from "../shared/function-url-event.json" with { type: "json" };
import { type Host, runWithHost } from "../shared/site.ts";
import { handler } from "./handler.ts";

const noon = Date.UTC(2030, 0, 1, 12);
const roleOf = (name: string) => `arn:aws:iam::123456789012:role/gateways/${name}`;

describe("ingest-batch on S3 and DynamoDB", () => {
  const local = useLocalAws();
  /** Every command that the SDK sent. */
  let calls: string[];
  let host: Host;
  let stream: Stream;

  beforeEach(async () => {
    calls = [];
    const { s3, dynamo } = makeAwsClients(local.place);
    const noted = <T>(commandName: string | undefined, sent: T): T => {
      calls.push((commandName ?? "").replace(/Command$/, ""));
      return sent;
    };
    const step = { step: "initialize", name: "noted" } as const;
    s3.middlewareStack.add(
      (next, { commandName }) =>
        (args) =>
          noted(commandName, next(args)),
      step,
    );
    dynamo.middlewareStack.add(
      (next, { commandName }) =>
        (args) =>
          noted(commandName, next(args)),
      step,
    );
    const memory = makeSite();
    const { objects, table } = await newAwsStore({ s3, dynamo });
    const site = { ...memory, objects, table };
    host = { site, authentication: { kind: "iam", operatorArns: [] } };
    const gateway = async (gatewayName: string, role: string) => {
      const input = { name: gatewayName, role: "gateway", iamRole: roleOf(role) } as const;
      const { gatewayId } = await registerPrincipal(site, input, operator);
      return { name: gatewayName, role: "gateway", gatewayId } as const;
    };
    const source = await gateway(twoVolumes.sourceGateway, "paris-gw");
    await gateway("gw-recovery", "berlin-gw");
    const vpg = await createVpg(site, twoVolumes, operator);
    stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
    expect(await put(stream.synced())).toMatchObject({ statusCode: 200 });
  });

  const put = (sent: SentBatch, role = "paris-gw", over: Partial<Host> = {}) => {
    const { requestContext } = urlEvent;
    const event = {
      ...urlEvent,
      rawPath: `/gateway/v1/batches/${sent.vpgId}/${sent.term}/${sent.session}/${sent.batch}`,
      requestContext: {
        ...requestContext,
        authorizer: {
          iam: { ...requestContext.authorizer.iam, userArn: `arn:aws:sts::123456789012:assumed-role/${role}/i-0` },
        },
      },
      body: Buffer.from(sent.body).toString("base64"),
    };
    return runWithHost({ ...host, ...over }, () => handler(event, lambdaContext("ingest-batch", "r")));
  };

  it("makes one PutObject and one UpdateItem of a batch, and reads nothing, once it is warm", async () => {
    await put(stream.checkpoint(noon));
    calls = [];
    for (let count = 1; count <= 20; count += 1) {
      expect(await put(stream.checkpoint(noon + count))).toMatchObject({ statusCode: 200 });
    }
    expect(calls).toEqual(Array.from({ length: 20 }, () => ["PutObject", "UpdateItem"]).flat());
  });

  it("takes the same batch again", async () => {
    const sent = stream.checkpoint(noon);
    const first = await put(sent);
    expect(await put(sent)).toMatchObject({ body: first.body?.replace('"duplicate":false', '"duplicate":true') });
  });

  it("refuses a role that is another gateway's, and one that nobody registered", async () => {
    const sent = stream.checkpoint(noon);
    expect(await put(sent, "berlin-gw")).toMatchObject({ statusCode: 403 });
    const stranger = await put(sent, "lyon-gw");
    expect(stranger).toMatchObject({ statusCode: 401 });
    expect(stranger.body).toContain("--iam-role arn:aws:iam::123456789012:role/lyon-gw");
  });

  it("believes no authorizer where the host knows callers by tokens", async () => {
    const sent = stream.checkpoint(noon);
    expect(await put(sent, "paris-gw", { authentication: { kind: "token" } })).toMatchObject({ statusCode: 401 });
  });
});
