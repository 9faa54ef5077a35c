import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { leaseEnd } from "#core/protection/pins.ts";
import { highestTerm } from "#core/protection/terms.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { findDecision } from "#core/recovery/decide.ts";
import { executionName } from "#core/recovery/operation-store.ts";
import { readReport } from "#core/recovery/report.ts";
import { type FailoverWorld, operationId } from "./failover-world.ts";

/** Everything about how a run ended that may not depend on when the site was killed: no times, no tokens, no numbers of attempts. */
export async function summaryOf(world: FailoverWorld) {
  const { site, vpg: made } = world.shop;
  const operation = await world.operation();
  if (operation === undefined) throw new Error("no operation was made");
  const vpg = await getVpg(site, made.vpgId);
  const decision = await findDecision(site, operationId);
  const history = await listCheckpoints(site, made.vpgId);
  const left = await listCheckpoints(site, made.vpgId, { lostTail: operationId });
  const checkpoints = [...left.checkpoints, ...history.checkpoints];
  const report = await readReport(site, made.vpgId, operationId);
  const execution = await world.workflows.describe(operation.kind, executionName(operation));
  const term = await highestTerm(site, made.vpgId);
  const { machines } = world;
  return {
    execution: execution?.status,
    phase: operation.phase,
    error: operation.error?.name ?? null,
    /** What the error says to do next. */
    next: /everything is undone/.test(operation.error?.message ?? "")
      ? "again"
      : /operation retry/.test(operation.error?.message ?? "")
        ? "retry"
        : /farshore sync/.test(operation.error?.message ?? "")
          ? "sync"
          : null,
    checkpoint: operation.checkpointId,
    exports: operation.exports,
    tokens: Object.keys(operation.tokens),
    lostTail: operation.lostTail,
    steps: Object.fromEntries(
      Object.entries(operation.steps).map(([name, { state, error }]) => [name, error === null ? state : error.name]),
    ),
    decision: decision && { decision: decision.decision, by: decision.by, success: decision.success },
    vpg: {
      role: vpg.role,
      term: vpg.term,
      operationId: vpg.operationId,
      syncOperationId: vpg.syncOperationId,
      openTests: vpg.openTests,
      needsConfiguration: vpg.needsConfiguration,
    },
    term: { n: term?.n, runs: term?.runs, operationId: term?.operationId },
    pins: checkpoints.map(({ pinOwners }) => pinOwners.filter((pin) => leaseEnd(pin) === undefined).length),
    tags: checkpoints.map(({ tags }) => tags.map((tag) => tag.replace(/ at .*/, ""))),
    report: { phase: report.phase, error: report.error?.name ?? null, checkpoint: report.checkpointId },
    effects: Object.fromEntries([...machines.effects].sort(([left], [right]) => (left < right ? -1 : 1))),
    machines: {
      violations: machines.violations,
      attached: machines.attached.size,
      running: [...machines.running.values()].flatMap((vms) => [...vms]),
      promoted: machines.promoted.size,
      scratchKept: [...machines.scratchKept.values()],
      sourceRuns: machines.sourceRuns,
      closed: machines.closedBy !== undefined,
      removed: machines.removed,
    },
  };
}

export type Summary = Awaited<ReturnType<typeof summaryOf>>;

/** The states in the order in which the attempt entered them. */
export async function traceOf(world: FailoverWorld): Promise<readonly string[]> {
  const operation = await world.operation();
  if (operation === undefined) return [];
  const history = await world.workflows.history(operation.kind, executionName(operation));
  return history.filter(({ type }) => type.endsWith("StateEntered")).map(({ state }) => state ?? "");
}
