import type { MachineSource } from "#adapters/embedded/workflows/interpreter.ts";
import { NotFound } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import type { Site } from "#core/site.ts";
import { handler as askPeer } from "../../functions/ask-peer/handler.ts";
import { handler as awaitDecision } from "../../functions/await-decision/handler.ts";
import { handler as beginOperation } from "../../functions/begin-operation/handler.ts";
import { handler as checkCommand } from "../../functions/check-command/handler.ts";
import { handler as comparePage } from "../../functions/compare-page/handler.ts";
import { handler as endOperation } from "../../functions/end-operation/handler.ts";
import { handler as issueCommand } from "../../functions/issue-command/handler.ts";
import { handler as mintTerm } from "../../functions/mint-term/handler.ts";
import { handler as nextBootGroup } from "../../functions/next-boot-group/handler.ts";
import { handler as nextPages } from "../../functions/next-pages/handler.ts";
import { handler as proveFinal } from "../../functions/prove-final/handler.ts";
import { handler as readDecision } from "../../functions/read-decision/handler.ts";
import { handler as recordFailure } from "../../functions/record-failure/handler.ts";
import { handler as resolveCheckpoint } from "../../functions/resolve-checkpoint/handler.ts";
import { handler as sealSessions } from "../../functions/seal-sessions/handler.ts";
import { runWithSite } from "../../functions/shared/site.ts";
import type { TaskHandler } from "../../functions/shared/task-handler.ts";
import { handler as switchCheckpoint } from "../../functions/switch-checkpoint/handler.ts";
import { handler as verifySync } from "../../functions/verify-sync/handler.ts";
import deltaSync from "../../workflows/delta-sync/delta-sync.asl.json" with { type: "json" };
import failoverLive from "../../workflows/failover-live/failover-live.asl.json" with { type: "json" };
import failoverTest from "../../workflows/failover-test/failover-test.asl.json" with { type: "json" };
import move from "../../workflows/move/move.asl.json" with { type: "json" };
import reverseProtection from "../../workflows/reverse-protection/reverse-protection.asl.json" with { type: "json" };
import { lambdaContext } from "./lambda-context.ts";

/** The tasks of the state machines by the name of their folder; on AWS each is a Lambda of its own. */
export const tasks: Readonly<Record<string, TaskHandler<unknown>>> = {
  "ask-peer": askPeer,
  "await-decision": awaitDecision,
  "begin-operation": beginOperation,
  "check-command": checkCommand,
  "compare-page": comparePage,
  "end-operation": endOperation,
  "issue-command": issueCommand,
  "mint-term": mintTerm,
  "next-boot-group": nextBootGroup,
  "next-pages": nextPages,
  "prove-final": proveFinal,
  "read-decision": readDecision,
  "record-failure": recordFailure,
  "resolve-checkpoint": resolveCheckpoint,
  "seal-sessions": sealSessions,
  "switch-checkpoint": switchCheckpoint,
  "verify-sync": verifySync,
};

const pascalCase = (folder: string): string =>
  folder.replaceAll(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** `${MintTermFunctionArn}` stands for the folder's name here, and for the Lambda's ARN on AWS. */
export const substitutions = Object.fromEntries(
  Object.keys(tasks).map((folder) => [`${pascalCase(folder)}FunctionArn`, folder]),
);

/** The very documents that are deployed to Step Functions. */
export const machines: Readonly<Record<string, MachineSource>> = {
  "delta-sync": { definition: deltaSync, substitutions },
  "failover-live": { definition: failoverLive, substitutions },
  move: { definition: move, substitutions },
  "failover-test": { definition: failoverTest, substitutions },
  "reverse-protection": { definition: reverseProtection, substitutions },
};

/** Calls a task in this process. Throws `NotFound` for a name that no folder has. */
export async function invokeTask(site: Site, name: string, payload: unknown): Promise<unknown> {
  const task = tasks[name];
  if (task === undefined) throw new NotFound(`no function ${name}`);
  const context = lambdaContext(name, newId(site.clock, site.random));
  return await runWithSite(site, () => task(payload, context));
}
