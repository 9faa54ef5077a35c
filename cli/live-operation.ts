import { ulid } from "ulid";
import { z } from "zod";
import {
  failoverCheckSchema,
  type OperationView,
  operationViewSchema,
  type StartOperation,
  vpgViewSchema,
} from "#core/api/site-api.ts";
import { InvalidInput, NotBeforeCommit } from "#core/errors.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { decisionSchema, type LiveOptions } from "#core/protection/operation.ts";
import { formatDuration, parseDuration } from "#core/units.ts";
import type { Context } from "./context.ts";
import { exitCodes } from "./exit.ts";
import { operationExitCode, printOperation, watchOperation } from "./operation-view.ts";
import { columns, result, timeText } from "./output.ts";
import type { SiteClient } from "./site-client.ts";

const vpgPath = (vpg: string) => `/v1/vpgs/${encodeURIComponent(vpg)}`;

/** What the operation would do now and what stands in its way; the exit status says whether it could start. */
export async function printCheck(context: Context, vpg: string, kind: "failover" | "move"): Promise<void> {
  const report = await context.client().get(`${vpgPath(vpg)}/${kind}-check`, failoverCheckSchema);
  result(context.output, report, () => {
    columns(
      context.output,
      ["", "WHAT", "DETAIL"],
      report.items.map((item) => [item.state, item.what, item.detail]),
    );
    context.output.line("");
    context.output.line(conclusion(report, kind));
  });
  if (!report.ready) process.exitCode = exitCodes.failed;
}

function conclusion({ ready, checkpoint }: z.infer<typeof failoverCheckSchema>, kind: "failover" | "move"): string {
  const what = kind === "move" ? "A move" : "A live failover";
  if (!ready || checkpoint === null) return `${what} now would be refused; see the lines marked blocked.`;
  const newest = `${checkpoint.id} of ${timeText(checkpoint.time)}`;
  if (kind === "failover") return `${what} now would recover ${newest}.`;
  return `${what} now would shut the VMs down and recover what they wrote last; the newest checkpoint is ${newest}.`;
}

/** Starts the operation and, when asked, follows it. */
export async function startOperation(
  context: Context,
  vpg: string,
  ask: StartOperation,
  wait: { readonly for: "Completed" | "RolledBack" | "any" } | undefined,
): Promise<void> {
  const client = context.client();
  const started = await client.post(`${vpgPath(vpg)}/operations`, operationViewSchema, ask);
  const shown = wait === undefined ? started : await watchOperation(context.output, client, started.operationId);
  result(context.output, shown, () => printOperation(context.output, shown));
  if (wait !== undefined) process.exitCode = operationExitCode(shown, wait.for);
}

export const requestId = () => ulid().toLowerCase() as StartOperation["requestId"];

/** The VPG's operation that waits for, or goes towards, its decision. Throws `NotBeforeCommit`, `InvalidInput` for one of another kind. */
export async function openLive(
  client: SiteClient,
  vpg: string,
  kind: "failover-live" | "move",
): Promise<OperationView> {
  const view = await client.get(vpgPath(vpg), vpgViewSchema);
  const what = kind === "move" ? "move" : "failover";
  if (view.operationId === null) throw new NotBeforeCommit(`${view.name} has no ${what} to decide on`);
  const operation = await client.get(`/v1/operations/${view.operationId}`, operationViewSchema);
  if (operation.kind === kind) return operation;
  throw new InvalidInput(`operation ${operation.operationId} of ${view.name} is a ${operation.kind}, no ${what}`);
}

/** Decides and follows the operation to its end. */
export async function decideOperation(
  context: Context,
  operation: OperationView,
  body: unknown,
  wanted: "Completed" | "RolledBack",
): Promise<void> {
  const client = context.client();
  await client.post(`/v1/operations/${operation.operationId}/decision`, z.object({ decision: decisionSchema }), body);
  const ended = await watchOperation(context.output, client, operation.operationId);
  result(context.output, ended, () => printOperation(context.output, ended));
  process.exitCode = operationExitCode(ended, wanted);
}

export interface CommitFlags {
  readonly commitPolicy: "none" | "commit" | "rollback";
  readonly commitAfter?: string;
}

/** Throws `InvalidInput` for a time without a policy, or a policy without a time. */
export function commitPolicyOf({ commitPolicy, commitAfter }: CommitFlags): LiveOptions["commitPolicy"] {
  if (commitPolicy === "none") {
    if (commitAfter === undefined) return { action: "none" };
    throw new InvalidInput("--commit-after needs --commit-policy commit or rollback");
  }
  if (commitAfter === undefined) {
    throw new InvalidInput(`--commit-policy ${commitPolicy} needs --commit-after T (0 means at once)`);
  }
  return { action: commitPolicy, afterMs: parseDuration(commitAfter) };
}

export interface ReverseFlag {
  readonly reverseProtection?: true;
}

/** The decision of `failover commit` and `move commit`. */
export const commitBody = ({ reverseProtection }: ReverseFlag) => ({
  decision: "commit" as const,
  ...(reverseProtection === true ? { reverseProtection } : {}),
});

/** What a person is told before recovered VMs are stopped, and what stays. */
export const undoConsequences = (operation: OperationView, rest: string): string[] => [
  `This stops the recovered VMs of ${operation.vpgName} and detaches what they wrote since ${timeText(operation.createdAt)};`,
  `that stays readable for ${formatDuration(protectionLimits.scratchKeptMs)} and is then removed. ${rest}`,
];
