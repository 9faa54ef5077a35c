import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { CreateStateMachineCommand } from "@aws-sdk/client-sfn";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ExecutionDescription } from "#core/ports.ts";
import { workflowsContract } from "../../test/contract/workflows.ts";
import { LambdaBridge } from "../../test/kit/lambda-bridge.ts";
import { motoIsInstalled, requireMoto, type ServedMoto, serveMoto } from "../../test/kit/moto.ts";
import { SystemClock } from "../embedded/clock.ts";
import { SystemRandom } from "../embedded/random.ts";
import { makeAwsClients } from "./clients.ts";
import { StepFunctionsWorkflows } from "./workflows.ts";

const clock = new SystemClock();
/** An execution's longest wait here is a heartbeat's 4 s. */
const endedMsMax = 20_000;

/** What Step Functions does and moto doesn't; what the adapter makes of it is shown by answers as Step Functions words them, below. */
const lacks = {
  "stops a running execution, and leaves a closed or unknown one alone": "moto keeps no error and cause of a stop",
  "brings the state's result, once": "moto takes a token twice",
  "brings the state's failure, once": "moto takes a token twice",
  "may be answered while its function still runs": "moto gives a text that is an output without its quotes",
  "is spent when its execution is stopped": "moto takes the token of a stopped execution",
};

describe("on moto", () => {
  let bridge: LambdaBridge;
  let moto: ServedMoto;
  beforeAll(async () => {
    bridge = await LambdaBridge.open();
    if (motoIsInstalled()) moto = await serveMoto(bridge.url);
  }, 60_000);
  beforeEach((context) => requireMoto(context));
  afterAll(async () => {
    if (motoIsInstalled()) await moto.stop();
    await bridge.close();
  });

  workflowsContract(
    "StepFunctionsWorkflows",
    async ({ machines, functions }) => {
      const { endpoint, region } = moto;
      const credentials = { accessKeyId: "local", secretAccessKey: "local" };
      const client = makeAwsClients({ endpoint, region, credentials }).stepFunctions;
      bridge.functions = functions;
      const prefix = `t${Buffer.from(new SystemRandom().bytes(6)).toString("hex")}-`;
      for (const [name, definition] of Object.entries(machines)) {
        const roleArn = "arn:aws:iam::123456789012:role/machines";
        // moto knows no EXPRESS items of a distributed Map.
        const text = JSON.stringify(definition).replaceAll('"EXPRESS"', '"STANDARD"');
        const document = { name: prefix + name, definition: text, roleArn };
        await client.send(new CreateStateMachineCommand(document));
      }
      const machinePrefix = `arn:aws:states:${region}:123456789012:stateMachine:${prefix}`;
      const workflows = new StepFunctionsWorkflows({ client, machinePrefix });
      return {
        workflows,
        unknownMachine: "Transient",
        passTime: (ms) => clock.sleep(ms),
        async ended(machine, name): Promise<ExecutionDescription> {
          for (const until = clock.now() + endedMsMax; clock.now() < until; await clock.sleep(50)) {
            const found = await workflows.describe(machine, name);
            if (found !== undefined && found.status !== "RUNNING") return found;
          }
          throw new Error(`${name} of ${machine} has not ended after ${endedMsMax} ms`);
        },
        dispose: async () => undefined,
      };
    },
    lacks,
  );
});

/** A Step Functions that answers each operation in turn with what is written here: `[status, body]`. */
type Answers = Record<string, readonly (readonly [number, object])[]>;
const failure = (type: string, message = "") => [400, { __type: type, message }] as const;

describe("StepFunctionsWorkflows", () => {
  let server: Server | undefined;
  const asked: { readonly operation: string; readonly body: unknown }[] = [];
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
    asked.length = 0;
  });
  const workflowsThatHear = async (answers: Answers): Promise<StepFunctionsWorkflows> => {
    const counts: Record<string, number> = {};
    server = createServer(async (request, response) => {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(Buffer.from(part));
      const operation = String(request.headers["x-amz-target"]).split(".")[1] ?? "";
      asked.push({ operation, body: JSON.parse(Buffer.concat(parts).toString()) });
      const count = counts[operation] ?? 0;
      counts[operation] = count + 1;
      const [status, body] = answers[operation]?.[count] ?? answers[operation]?.at(-1) ?? [500, {}];
      response.writeHead(status, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const credentials = { accessKeyId: "local", secretAccessKey: "local" };
    const place = { endpoint: `http://127.0.0.1:${port}`, region: "eu-central-1", credentials };
    const machinePrefix = "arn:aws:states:eu-central-1:123456789012:stateMachine:farshore-berlin-";
    return new StepFunctionsWorkflows({ client: makeAwsClients(place).stepFunctions, machinePrefix });
  };
  const execution = {
    executionArn: "arn:aws:states:eu-central-1:123456789012:execution:farshore-berlin-failover-live:one",
    stateMachineArn: "arn:aws:states:eu-central-1:123456789012:stateMachine:farshore-berlin-failover-live",
    name: "one",
    startDate: 1_700_000_000,
    input: '{"a":1}',
  };

  it("names machines and executions by the prefix and the folder", async () => {
    const workflows = await workflowsThatHear({
      StartExecution: [[200, { executionArn: execution.executionArn, startDate: 1 }]],
      DescribeExecution: [[200, { ...execution, status: "RUNNING" }]],
    });
    await workflows.start("failover-live", "one", "{}");
    expect(await workflows.describe("failover-live", "one")).toEqual({
      name: "one",
      status: "RUNNING",
      startedAt: 1_700_000_000_000,
    });
    expect(asked.map(({ body }) => body)).toEqual([
      { stateMachineArn: execution.stateMachineArn, name: "one", input: "{}" },
      { executionArn: execution.executionArn },
    ]);
  });

  it.each([
    { status: "RUNNING", input: '{"a":1}', taken: true },
    { status: "RUNNING", input: '{"a":2}', taken: false },
    { status: "SUCCEEDED", input: '{"a":1}', taken: false },
  ])("a name that exists, $status, asked with $input: taken $taken", async ({ status, input, taken }) => {
    const workflows = await workflowsThatHear({
      StartExecution: [failure("ExecutionAlreadyExists")],
      DescribeExecution: [[200, { ...execution, status }]],
    });
    const started = workflows.start("failover-live", "one", input);
    if (taken) await started;
    else await expect(started).rejects.toMatchObject({ name: "ExecutionAlreadyExists" });
  });

  it.each(["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])("a token that is %s is spent", async (type) => {
    const answer = [failure(type)];
    const workflows = await workflowsThatHear({
      SendTaskSuccess: answer,
      SendTaskFailure: answer,
      SendTaskHeartbeat: answer,
    });
    await expect(workflows.succeed("t", "1")).rejects.toMatchObject({ name: "TaskTimedOut" });
    await expect(workflows.fail("t", "E", "c")).rejects.toMatchObject({ name: "TaskTimedOut" });
    await expect(workflows.heartbeat("t")).rejects.toMatchObject({ name: "TaskTimedOut" });
  });

  it("tells a stop's error and cause, and leaves an unknown execution alone", async () => {
    const workflows = await workflowsThatHear({ StopExecution: [failure("ExecutionDoesNotExist")] });
    await workflows.stop("failover-live", "one", "Because", "x".repeat(40_000));
    const { executionArn } = execution;
    expect(asked).toEqual([
      { operation: "StopExecution", body: { executionArn, error: "Because", cause: "x".repeat(32_768) } },
    ]);
  });

  it.each([
    [failure("StateMachineDoesNotExist"), "Transient"],
    [failure("AccessDeniedException", "User: x is not authorized to perform: states:StartExecution"), "Forbidden"],
    [failure("ValidationException"), "InvalidInput"],
    [failure("ExecutionLimitExceeded"), "Transient"],
  ] as const)("%j is told as %s", async (answer, name) => {
    const workflows = await workflowsThatHear({ StartExecution: [answer] });
    await expect(workflows.start("failover-live", "one", "{}")).rejects.toMatchObject({ name });
  });

  it("waits out throttling", async () => {
    const workflows = await workflowsThatHear({
      StopExecution: [failure("ThrottlingException"), [200, { stopDate: 1 }]],
    });
    await workflows.stop("failover-live", "one", "Because", "of that");
    expect(asked).toHaveLength(2);
  });
});
