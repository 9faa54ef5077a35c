import { writeFileSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import {
  GetFunctionConfigurationCommand,
  LambdaClient,
  UpdateFunctionConfigurationCommand,
} from "@aws-sdk/client-lambda";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { vpgViewSchema } from "#core/api/site-api.ts";
import { billOf } from "#core/cost/bill.ts";
import { usEast1 } from "#core/cost/prices.ts";
import { add, invocation, multiply, runs } from "#core/cost/usage.ts";
import { newId } from "#core/ids.ts";
import { SiteClient } from "../gateway/control/site-client.ts";
import { batchesInFlightMax } from "../gateway/limits.ts";
import { farshore } from "../scripts/demo/processes.ts";
import { bootstrap, deploy, synthesize } from "../scripts/local-aws/cdk.ts";
import { clientSettings } from "../scripts/local-aws/clients.ts";
import { type Ministack, startMinistack } from "../scripts/local-aws/ministack.ts";
import { Roles } from "../scripts/local-aws/roles.ts";
import { BatchMaker, type BatchShape, type OpenedSession } from "./batch-maker.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { Findings, type Metric, spreadOf } from "./findings.ts";

const cold: Metric = { label: "cold", unit: "ms" };
const warm: Metric = { label: "warm", unit: "ms", digits: 1 };
const rate: Metric = { label: "16 in flight", unit: "/s" };
const puts: Metric = { label: "S3 calls", unit: "a batch", digits: 2 };
const writes: Metric = { label: "DynamoDB calls", unit: "a batch", digits: 2 };
const dollars: Metric = { label: "to ingest", unit: "$/GB", digits: 4 };

const GB = 2 ** 30;
const site = "bench";
const subject = "function URL of a local AWS";
const volumeBytes = GB;
/** One after the other, for the time of a warm call; and at once, for the rate. */
const warmBatches = 20;
const burstBatches = 64;

const shapes: readonly (BatchShape & { readonly name: string })[] = [
  { name: "4 MiB batches", writes: 1024, writeBytes: 4096, payload: "random" },
  { name: "batches of one 4 KiB write", writes: 1, writeBytes: 4096, payload: "random" },
];

export const aws: Bench = {
  name: "aws",
  what: "ingest through the function URL of a site deployed on a local AWS: cold, warm, sixteen at once; calls of S3 and DynamoDB a batch",
  needs: ["ministack"],
  async run(context) {
    const findings = new Findings();
    const local = await startMinistack({ directory: join(context.diskFolder, "aws"), region: "eu-central-1" });
    try {
      const place = await deploySite(context, local);
      for (const shape of shapes) await measure(context, findings, place, shape);
    } finally {
      await local.stop();
    }
    findings.remark(
      "The local AWS is one Python process on the same cores: its times compare one version of the function with another and say",
      "nothing of AWS. Calls a batch are those of AWS. Cold is a new process with the function's bundle and its first batch.",
      `Dollars: the measured calls and ${runs.ingest.ms} ms of ${runs.ingest.memoryMiB} MiB a batch, which is assumed, by list prices of ${usEast1.region}; a GB is 2^30 bytes.`,
    );
    return findings;
  },
};

interface Place {
  readonly lambda: LambdaClient;
  readonly endpoint: string;
  readonly function: string;
  /** Opens a session of a VPG of its own. */
  open(name: string): Promise<{ readonly client: SiteClient; readonly session: OpenedSession }>;
}

async function deploySite(context: BenchContext, local: Ministack): Promise<Place> {
  const folder = context.diskFolder;
  const roles = new Roles(local, "");
  await roles.create();
  const config = join(folder, "farshore-site.toml");
  const [operator, gateway] = [roles.arn("operator"), roles.arn("source-gateway")];
  writeFileSync(config, `[[site]]\nname = "${site}"\noperators = ["${operator}"]\ngateways = ["${gateway}"]\n`);
  context.say("synthesizing");
  const synthesized = await synthesize(config, folder);
  context.say("deploying");
  await bootstrap(local, folder);
  const outputs = await deploy(`farshore-${site}`, local, synthesized);
  const people = {
    ...(await roles.assume("operator")),
    FARSHORE_SITE: outputs["SiteApiUrl"] ?? "",
    FARSHORE_AUTH: "iam",
  };
  await farshore(["token", "create", "--role", "gateway", "--name", "load", "--iam-role", gateway], people);
  // The client signs with what the SDK finds in the environment, as in a gateway.
  Object.assign(process.env, await roles.assume("source-gateway"));
  return {
    lambda: new LambdaClient(clientSettings(local)),
    endpoint: local.endpoint,
    function: `farshore-${site}-ingest-batch`,
    async open(name) {
      const file = join(folder, `${name}.toml`);
      writeFileSync(file, vpgFile(name));
      const { vpgId } = vpgViewSchema.parse(await farshore(["vpg", "create", file], people));
      const address = { url: outputs["GatewayApiUrl"] ?? "", access: { kind: "iam", region: local.region } } as const;
      const opener = new SiteClient(address, 1);
      const opened = await opener.openSession({
        vpgId,
        nonce: newId(new SystemClock(), new SystemRandom()),
        ...{ lastSession: 0, acknowledgedBatch: -1, cleanlyClosed: false, acceptRegression: false },
        volumes: [{ vmName: "vm", name: "disk", sizeBytes: volumeBytes, sectorBytes: 512 }],
      });
      await opener.close();
      const { term, session, configRevision, batchesUrl } = opened;
      const volume = opened.volumes[0]?.volume ?? 1;
      const client = new SiteClient({ ...address, batchesUrl }, batchesInFlightMax);
      return { client, session: { vpgId, term, session, configRevision, volume, volumeBytes } };
    },
  };
}

function vpgFile(name: string): string {
  return `name = "${name}"
protected_site = "elsewhere"
source_gateway = "load"
compute = "none"
[[vm]]
name = "vm"
  [[vm.volume]]
  name = "disk"
  size = "${volumeBytes}B"
`;
}

async function measure(
  context: BenchContext,
  findings: Findings,
  place: Place,
  shape: (typeof shapes)[number],
): Promise<void> {
  const { client, session } = await place.open(`load-${shape.writes}`);
  const maker = new BatchMaker(session, shape);
  const send = async (): Promise<number> => {
    const made = maker.next();
    const began = performance.now();
    await client.putBatch({ ...session, batch: made.batch }, made.body, 0);
    return performance.now() - began;
  };
  const counter = await CallCounter.start(place.endpoint);
  try {
    for (let round = 0; round < context.rounds; round += 1) {
      context.say(`${shape.name}, round ${round + 1}`);
      await renew(place, place.endpoint);
      findings.add(shape.name, subject, cold, await send());
      const times: number[] = [];
      for (let sent = 0; sent < warmBatches; sent += 1) times.push(await send());
      findings.add(shape.name, subject, warm, spreadOf(times).median);
      const burst = (): Promise<unknown> => Promise.all(Array.from({ length: batchesInFlightMax }, send));
      // Each of those at once has a process of its own: the first burst starts them.
      await burst();
      const began = performance.now();
      for (let sent = 0; sent < burstBatches; sent += batchesInFlightMax) await burst();
      findings.add(shape.name, subject, rate, (burstBatches * 1000) / (performance.now() - began));
    }
    await renew(place, counter.url);
    await send();
    counter.reset();
    for (let sent = 0; sent < warmBatches; sent += 1) await send();
    const calls = { s3Puts: counter.s3 / warmBatches, dynamodbWrites: counter.dynamo / warmBatches };
    findings.add(shape.name, subject, puts, calls.s3Puts);
    findings.add(shape.name, subject, writes, calls.dynamodbWrites);
    const batches = GB / (shape.writes * shape.writeBytes);
    const usage = multiply(add(invocation(runs.ingest), calls), batches);
    findings.add(shape.name, subject, dollars, billOf(usage, usEast1).usd);
  } finally {
    counter.close();
    await client.close();
  }
}

/** Makes the next call of the function a cold one, and has it speak to `endpoint`. */
async function renew({ lambda, function: FunctionName }: Place, endpoint: string): Promise<void> {
  const { Environment } = await lambda.send(new GetFunctionConfigurationCommand({ FunctionName }));
  const Variables = { ...Environment?.Variables, AWS_ENDPOINT_URL: endpoint, RENEWED_AT: String(performance.now()) };
  await lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName, Environment: { Variables } }));
}

/** Passes calls of AWS on, and counts them. */
class CallCounter {
  readonly #server: Server;
  s3 = 0;
  dynamo = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(target: string): Promise<CallCounter> {
    const server = createServer();
    const counter = new CallCounter(server);
    server.on("request", (incoming, reply) => {
      // DynamoDB's calls name themselves; S3's don't.
      if (incoming.headers["x-amz-target"] === undefined) counter.s3 += 1;
      else counter.dynamo += 1;
      const how = { method: incoming.method ?? "GET", headers: incoming.headers };
      const outgoing = request(new URL(incoming.url ?? "/", target), how, (answer) => {
        reply.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(reply);
      });
      outgoing.on("error", () => reply.destroy());
      incoming.pipe(outgoing);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return counter;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  reset(): void {
    this.s3 = 0;
    this.dynamo = 0;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
