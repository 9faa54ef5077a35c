import { Corrupt, NoCheckpoint } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { allReportsPrefix, parseReportKey } from "#core/journal/keys.ts";
import { parseStored, tableFields } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { TableAction } from "#core/ports.ts";
import { restorePin } from "#core/protection/checkpoints.ts";
import type { Forgotten } from "#core/protection/forgotten.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { Operation } from "#core/protection/operation.ts";
import { leaseOf } from "#core/protection/pins.ts";
import type { BareSite } from "#core/protection/rebuild.ts";
import { fieldsOf, recordOf } from "#core/protection/vpg-record.ts";
import { forgottenOperations } from "./begun-operation.ts";
import { nothingAttached } from "./left-standing.ts";
import { type Report, reportSchema } from "./report.ts";
import { scratchLeases } from "./scratch-leases.ts";
import { stepNames } from "./steps.ts";

/**
 * Operations that have ended, from their reports, so that they are still listed after a rebuild, with the pins of those that
 * left something attached, and the leases of scratches that are still kept. One that was under way is not there, nor is its pin: it
 * stood in the table alone. That a live one had begun the bucket knows, and its VPG is held by it until somebody ends it
 * (begun-operation.ts). Answers how many are listed.
 */
export async function rebuildOperations(site: BareSite): Promise<number> {
  const last = new Map<Id, Report>();
  for await (const { key } of listAll(site.objects, allReportsPrefix)) {
    const place = parseReportKey(key);
    // The page beside a report is made of it.
    if (place?.form === "html") continue;
    if (place === undefined) throw new Corrupt(`${key} is not the name of a report`, { key });
    const report = parseStored(reportSchema, await site.objects.get(key), key);
    if (report.attempt >= (last.get(report.operationId)?.attempt ?? 0)) last.set(report.operationId, report);
  }
  const operations = new Map<Id, Operation>();
  for (const report of last.values()) {
    const operation = operationOf(report);
    operations.set(operation.operationId, operation);
    await site.table.transact(actionsOf(report, operation));
  }
  const { held, declared } = await forgottenOperations(site, operations);
  for (const operation of operations.values()) {
    await restorePinsOf(site, operation, (declared.get(operation.operationId) ?? 0) >= operation.attempt);
  }
  await restorePowerOns(site, [...last.values()]);
  await holdForgotten(site, held);
  return last.size;
}

/** What is powered on already, its gateway knows: it is asked once more. */
async function restorePowerOns(site: BareSite, reports: readonly Report[]): Promise<void> {
  const due = reports.filter(({ sourceLeftOff }) => sourceLeftOff).sort((one, other) => other.endedAt - one.endedAt);
  for (const vpgId of new Set(due.map((report) => report.vpgId))) {
    const item = await site.table.get(items.vpg(vpgId));
    const vpg = item && recordOf(item);
    if (vpg?.role !== "Journal") continue;
    const own = due.filter((report) => report.vpgId === vpgId && report.term === vpg.term);
    const powerOnDue = own.map(({ operationId }) => operationId).slice(0, limits.powerOnsDueMax);
    await site.table.transact([{ put: items.vpg(vpgId), fields: fieldsOf({ ...vpg, powerOnDue }) }]);
  }
}

/** One that failed with its volumes attached holds a VPG that was never committed; after the commit it is only not complete. */
async function holdForgotten(site: BareSite, held: ReadonlyMap<Id, readonly Forgotten[]>): Promise<void> {
  for (const [vpgId, began] of held) {
    const item = await site.table.get(items.vpg(vpgId));
    if (item === undefined) continue;
    const record = recordOf(item);
    const forgotten = began.filter((each) => each.failed === undefined || record.role === "Journal");
    await site.table.transact([{ put: items.vpg(vpgId), fields: fieldsOf({ ...record, forgotten }) }]);
  }
}

/** A checkpoint that is gone holds none; nor does an operation that a person declared to be over, but for its kept scratches. */
async function restorePinsOf(site: BareSite, operation: Operation, declaredOver: boolean): Promise<void> {
  const { vpgId, checkpointId, operationId } = operation;
  const now = site.clock.now();
  const pins = [...scratchLeases(operation, now)]
    .filter(([, until]) => until > now)
    .map(([id, until]) => ({ id, owner: leaseOf(operationId, until) }));
  const attached = !declaredOver && !nothingAttached(operation);
  if (checkpointId !== null && attached) pins.push({ id: checkpointId, owner: operationId });
  for (const { id, owner } of pins) {
    try {
      await restorePin(site, vpgId, id, owner);
    } catch (error) {
      if (!(error instanceof NoCheckpoint)) throw error;
    }
  }
}

function actionsOf(report: Report, operation: Operation): readonly TableAction[] {
  const { operationId, vpgId, kind, decision } = report;
  const actions: TableAction[] = [
    { put: items.operation(operationId), fields: tableFields(operation) },
    { put: items.operationIndex(operationId), fields: { vpgId, kind, open: false } },
  ];
  if (decision !== null) actions.push({ put: items.decision(operationId), fields: tableFields(decision) });
  return actions;
}

/** Its wake-ups are not in the report, and nobody needs them any more. */
function operationOf(report: Report): Operation {
  const { operationId, vpgId, vpgName, kind, phase, attempt, initiatedBy, incident, endedAt } = report;
  const { live, test, move, sync, reverse, syncFigures, reverseFigures } = report;
  const { checkpointId, checkpointTime, term, retargets, lostTail, verdicts, error, rtoMs } = report;
  const steps = Object.fromEntries(report.steps.map(({ step, durationMs: _, ...record }) => [step, record]));
  return {
    ...{ operationId, vpgId, vpgName, kind, phase, attempt, initiatedBy, incident, endedAt },
    ...{ live, test, move, sync, reverse, syncFigures, reverseFigures },
    ...{ checkpointId, checkpointTime, term, retargets, lostTail, verdicts, error, rtoMs },
    createdAt: report.startedAt,
    steps,
    tokens: {},
    finals: {},
    exports: Object.fromEntries(report.exports.map(({ number, uri }) => [String(number), uri])),
    bootGroupsDone: 0,
    sourceLeftOff: report.sourceLeftOff,
    resumeId: null,
    sourceWasShutDown: steps[stepNames.shutdownSource]?.state === "done",
  };
}
