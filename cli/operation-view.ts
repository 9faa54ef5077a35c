import { type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import { assertNever } from "#core/errors.ts";
import {
  endedPhases,
  isLive,
  type LostTail,
  policyOf,
  type Retarget,
  syncedLines,
} from "#core/protection/operation.ts";
import { formatBytes, formatDuration } from "#core/units.ts";
import { askAgain } from "./ask-again.ts";
import { exitCodes } from "./exit.ts";
import { cliLimits } from "./limits.ts";
import { columns, fields, type Output, timeText } from "./output.ts";
import type { SiteClient } from "./site-client.ts";

export function lostTailText(tail: LostTail | null): string {
  if (tail === null) return "-";
  const what = `${formatDuration(tail.ms)} (${tail.writes} writes, ${formatBytes(tail.bytes)})`;
  switch (tail.certainty) {
    case "exact":
      return `${what} of acknowledged writes were not recovered`;
    case "at-least":
      return `unknown, at least ${what}`;
    default:
      return assertNever(tail.certainty);
  }
}

function retargetText({ checkpointId, checkpointTime, by, rtoMs, error }: Retarget): string {
  const asked = `${checkpointId} ${timeText(checkpointTime)} by ${by}`;
  if (error !== null) return `${asked}: ${error.name}: ${error.message}`;
  return `${asked}: ${rtoMs === null ? "under way" : `up after ${formatDuration(rtoMs)}`}`;
}

const recoveryRows = (operation: OperationView): readonly (readonly [string, string])[] => [
  ["RTO", operation.rtoMs === null ? "-" : formatDuration(operation.rtoMs)],
  ["Lost tail", lostTailText(operation.lostTail)],
];

const decisionRow = ({ decision }: OperationView): readonly [string, string] => [
  "Decision",
  decision === null ? "-" : `${decision.decision} by ${decision.by}`,
];

/** What an operation's syncs read, found and sent. */
export const syncedRows = (of: Parameters<typeof syncedLines>[0]): readonly (readonly [string, string])[] =>
  syncedLines(of).map(([name, { hashedBytes, differingBytes, shippedBytes }]) => [
    name,
    `${formatBytes(hashedBytes)} hashed, ${formatBytes(differingBytes)} in differing chunks, ${formatBytes(shippedBytes)} shipped`,
  ]);

function pageRows({ syncFigures }: OperationView): readonly (readonly [string, string])[] {
  if (syncFigures === null) return [];
  const { pages, pagesAlone } = syncFigures;
  return [["Pages compared", `${pages}, ${pagesAlone} by gateways alone`]];
}

export function printOperation(output: Output, operation: OperationView): void {
  fields(output, [
    ["Operation", `${operation.operationId}, ${operation.kind} of ${operation.vpgName}, attempt ${operation.attempt}`],
    ["Phase", operation.phase],
    ["By", `${operation.initiatedBy} at ${timeText(operation.createdAt)}`],
    [
      "Checkpoint",
      operation.checkpointId === null ? "-" : `${operation.checkpointId} ${timeText(operation.checkpointTime)}`,
    ],
    ...operation.retargets.map((one): readonly [string, string] => [`Try ${one.number}`, retargetText(one)]),
    ...(isLive(operation) || operation.kind === "failover-test" ? recoveryRows(operation) : []),
    ...(operation.kind === "delta-sync" ? [] : [decisionRow(operation)]),
    ...syncedRows(operation),
    ...pageRows(operation),
    ["Error", operation.error === null ? "-" : `${operation.error.name}: ${operation.error.message}`],
  ]);
  for (const [volume, uri] of Object.entries(operation.exports)) output.line(`Volume ${volume}: ${uri}`);
  const steps = Object.entries(operation.steps).sort(([, a], [, b]) => a.startedAt - b.startedAt);
  if (steps.length === 0) return;
  output.line("");
  columns(
    output,
    ["STEP", "STATE", "TOOK", "RESULT"],
    steps.map(([name, step]) => [
      name,
      step.state,
      step.endedAt === null ? "-" : formatDuration(step.endedAt - step.startedAt),
      step.error === null ? step.result : `${step.error.name}: ${step.error.message}`,
    ]),
  );
}

export const fetchOperation = (client: SiteClient, id: string): Promise<OperationView> =>
  client.get(`/v1/operations/${encodeURIComponent(id)}`, operationViewSchema);

const goesOn = (why: string): string =>
  `${timeText(Date.now())}  ${why} What was started goes on at the site; it is asked again.`;

/** Follows an operation, a line per phase, until it has ended or waits for a decision: a person's, or `any`, a policy's too. */
export async function watchOperation(
  output: Output,
  client: SiteClient,
  id: string,
  any = false,
): Promise<OperationView> {
  let shown = "";
  for (;;) {
    // A site that never answered is told of at once.
    const ask = () => fetchOperation(client, id);
    const operation = await (shown === "" ? ask() : askAgain(ask, ({ message }) => output.note(goesOn(message))));
    if (operation.phase !== shown) {
      shown = operation.phase;
      output.note(`${timeText(Date.now())}  ${operation.kind} ${operation.vpgName}: ${operation.phase}`);
    }
    const undecided =
      operation.decision === null && (operation.phase === "BeforeCommit" || operation.phase === "TestRunning");
    const timed = !any && policyOf(operation).action !== "none";
    const stuck = operation.decision === null && operation.phase === "RetargetFailed";
    if (endedPhases.includes(operation.phase) || (undecided && !timed) || stuck) return operation;
    await new Promise((resolve) => setTimeout(resolve, cliLimits.pollMs));
  }
}

/** 0 when it went as asked or waits for a decision, 3 when it failed or ended in another way than `wanted`. */
export function operationExitCode(operation: OperationView, wanted: "Completed" | "RolledBack" | "any"): number {
  if (operation.phase === "Failed" || operation.phase === "RetargetFailed") return exitCodes.otherwise;
  if (!endedPhases.includes(operation.phase) || wanted === "any") return exitCodes.done;
  return operation.phase === wanted ? exitCodes.done : exitCodes.otherwise;
}
