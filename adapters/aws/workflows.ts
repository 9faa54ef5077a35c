import {
  DescribeExecutionCommand,
  SendTaskFailureCommand,
  SendTaskHeartbeatCommand,
  SendTaskSuccessCommand,
  type SFNClient,
  StartExecutionCommand,
  StopExecutionCommand,
} from "@aws-sdk/client-sfn";
import { ExecutionAlreadyExists, InvalidInput, TaskTimedOut } from "#core/errors.ts";
import type { ExecutionDescription, ExecutionStatus, Workflows } from "#core/ports.ts";
import { assertExecutionName, parsePayload } from "#core/workflow-rules.ts";
import { failureCauseCharactersMax, failureErrorCharactersMax } from "./limits.ts";
import { awsTrouble, faultOf } from "./trouble.ts";

export interface StepFunctionsOptions {
  readonly client: SFNClient;
  /** What stands before a machine's name in its ARN: `arn:aws:states:REGION:ACCOUNT:stateMachine:PREFIX-`. */
  readonly machinePrefix: string;
}

/**
 * The state machines of workflows/ on Step Functions (Standard). `describe` is eventually consistent there: right after a
 * start it may know nothing yet. A closed execution's name is refused for 90 days; ours hold a ULID.
 */
export class StepFunctionsWorkflows implements Workflows {
  readonly #client: SFNClient;
  readonly #machinePrefix: string;

  constructor({ client, machinePrefix }: StepFunctionsOptions) {
    this.#client = client;
    this.#machinePrefix = machinePrefix;
  }

  async start(machine: string, name: string, input: string): Promise<void> {
    assertExecutionName(name);
    parsePayload(input, "input");
    const stateMachineArn = this.#machinePrefix + machine;
    try {
      await this.#client.send(new StartExecutionCommand({ stateMachineArn, name, input }));
    } catch (error) {
      if (faultOf(error).name !== "ExecutionAlreadyExists")
        throw awsTrouble(error, "states:StartExecution", stateMachineArn);
      // Step Functions takes the same name and input while it runs; not everything that speaks its language does.
      const found = await this.#find(machine, name);
      if (found?.status === "RUNNING" && found.input === input) return;
      const why = found === undefined ? "" : found.status === "RUNNING" ? " with another input" : `: ${found.status}`;
      throw new ExecutionAlreadyExists(
        `${machine} ${name} was started before${why}`,
        { machine, name },
        { cause: error },
      );
    }
  }

  async describe(machine: string, name: string): Promise<ExecutionDescription | undefined> {
    const found = await this.#find(machine, name);
    if (found === undefined) return undefined;
    const { input: _, ...description } = found;
    return description;
  }

  async stop(machine: string, name: string, error: string, cause: string): Promise<void> {
    const executionArn = this.#executionArn(machine, name);
    try {
      await this.#client.send(new StopExecutionCommand({ executionArn, ...failureOf(error, cause) }));
    } catch (thrown) {
      if (faultOf(thrown).name === "ExecutionDoesNotExist") return;
      throw awsTrouble(thrown, "states:StopExecution", executionArn);
    }
  }

  async succeed(taskToken: string, output: string): Promise<void> {
    parsePayload(output, "output");
    await answer("states:SendTaskSuccess", () => this.#client.send(new SendTaskSuccessCommand({ taskToken, output })));
  }

  async fail(taskToken: string, error: string, cause: string): Promise<void> {
    await answer("states:SendTaskFailure", () =>
      this.#client.send(new SendTaskFailureCommand({ taskToken, ...failureOf(error, cause) })),
    );
  }

  async heartbeat(taskToken: string): Promise<void> {
    await answer("states:SendTaskHeartbeat", () => this.#client.send(new SendTaskHeartbeatCommand({ taskToken })));
  }

  async #find(machine: string, name: string): Promise<(ExecutionDescription & { readonly input: string }) | undefined> {
    const executionArn = this.#executionArn(machine, name);
    try {
      const found = await this.#client.send(new DescribeExecutionCommand({ executionArn }));
      const status = statusOf(found.status);
      return {
        name,
        status,
        input: found.input ?? "",
        startedAt: found.startDate?.getTime() ?? 0,
        ...(found.stopDate === undefined || status === "RUNNING" ? {} : { stoppedAt: found.stopDate.getTime() }),
        // Only a success has an output.
        ...(found.output === undefined || status !== "SUCCEEDED" ? {} : { output: found.output }),
        ...(found.error === undefined ? {} : { error: found.error }),
        ...(found.cause === undefined ? {} : { cause: found.cause }),
      };
    } catch (error) {
      if (faultOf(error).name === "ExecutionDoesNotExist") return undefined;
      throw awsTrouble(error, "states:DescribeExecution", executionArn);
    }
  }

  #executionArn(machine: string, name: string): string {
    return `${(this.#machinePrefix + machine).replace(":stateMachine:", ":execution:")}:${name}`;
  }
}

/** An execution that waits to be redriven runs again. */
function statusOf(status: string | undefined): ExecutionStatus {
  switch (status) {
    case "SUCCEEDED":
    case "FAILED":
    case "TIMED_OUT":
    case "ABORTED":
      return status;
    default:
      return "RUNNING";
  }
}

function failureOf(error: string, cause: string) {
  return { error: error.slice(0, failureErrorCharactersMax), cause: cause.slice(0, failureCauseCharactersMax) };
}

/** Step Functions tells a token that is spent, stale or never was by three names; to whoever answers they are one. */
async function answer(action: string, send: () => Promise<unknown>): Promise<void> {
  try {
    await send();
  } catch (error) {
    const { name, message } = faultOf(error);
    if (["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"].includes(name))
      throw new TaskTimedOut(`the task token is spent, stale or unknown (${name})`, {}, { cause: error });
    if (name === "InvalidOutput") throw new InvalidInput(`the output is not taken: ${message}`, {}, { cause: error });
    throw awsTrouble(error, action, "a task token");
  }
}
