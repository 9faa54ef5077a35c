import { DescribeExecutionCommand, GetExecutionHistoryCommand, SFNClient } from "@aws-sdk/client-sfn";
import { clientSettings } from "../../scripts/local-aws/clients.ts";
import type { Ground } from "./ground.ts";

export interface ExecutionRead {
  readonly status: string | undefined;
  /** Names of the states in the order they were entered. */
  readonly states: readonly string[];
  readonly lastEvent: string | undefined;
}

/** What Step Functions itself says of an execution. */
export async function readExecution(ground: Ground, machineArn: string, name: string): Promise<ExecutionRead> {
  const client = new SFNClient(clientSettings(ground));
  const executionArn = `${machineArn.replace(":stateMachine:", ":execution:")}:${name}`;
  const { status } = await client.send(new DescribeExecutionCommand({ executionArn }));
  const states: string[] = [];
  let lastEvent: string | undefined;
  let nextToken: string | undefined;
  do {
    const ask = { executionArn, maxResults: 1000, ...(nextToken === undefined ? {} : { nextToken }) };
    const page = await client.send(new GetExecutionHistoryCommand(ask));
    for (const { type, stateEnteredEventDetails } of page.events ?? []) {
      lastEvent = type;
      if (stateEnteredEventDetails?.name !== undefined) states.push(stateEnteredEventDetails.name);
    }
    nextToken = page.nextToken;
  } while (nextToken !== undefined);
  return { status, states, lastEvent };
}
