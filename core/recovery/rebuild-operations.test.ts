import { expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { newId } from "#core/ids.ts";
import { tableFields } from "#core/json.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { pendingCommands } from "#core/protection/commands.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { openSession } from "#core/protection/open-session.ts";
import type { Step } from "#core/protection/operation.ts";
import { leaseOf } from "#core/protection/pins.ts";
import { rebuildTable } from "#core/protection/rebuild.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { makeSite, noWorkflows, openAsk, operator, protect } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { beginOperation } from "./begin-operation.ts";
import { issueStep } from "./command-step.ts";
import { rebuildOperations } from "./rebuild-operations.ts";
import { type Report, storeReport } from "./report.ts";
import { retryOperation } from "./retry-operation.ts";
import { stepNames } from "./steps.ts";

const noon = Date.UTC(2030, 0, 1, 12);

const done: Step = { state: "done", startedAt: noon, endedAt: noon, result: "", error: null };
const steps = (...names: string[]) => names.map((step) => ({ step, ...done, durationMs: 0 }));
const { attachVolumes, detachVolumes, powerOnSource, shutdownSource } = stepNames;

async function protectedSite() {
  const site = makeSite({ workflows: { ...noWorkflows, start: async () => undefined } });
  const { vpg, source } = await protect(site);
  const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
  for (const sent of [stream.synced(), stream.checkpoint(noon), stream.checkpoint(noon + 1)]) {
    await ingestBatch(site, source, sent);
  }
  const rebuilt: Site = { ...site, table: new SqliteTable(":memory:") };
  const report = (checkpointId: string, ended: Report["steps"]): Report => ({
    formatVersion: 1,
    operationId: newId(site.clock, site.random),
    attempt: 1,
    kind: "failover-live",
    phase: "Failed",
    vpgId: vpg.vpgId,
    ...{ vpgName: "shop", protectedSite: "berlin", recoverySite: "recovery", initiatedBy: "ann" },
    ...{ startedAt: noon, endedAt: noon, checkpointId, checkpointTime: noon, rtoMs: null, term: 1 },
    ...{ decision: null, lostTail: null, lostTailText: "", error: null, incident: null, steps: ended, exports: [] },
    ...{ live: null, move: null, test: null, sync: null, reverse: null, vms: null, version: null },
    ...{
      sourceLeftOff: false,
      checkpointTags: null,
      retargets: [],
      syncFigures: null,
      reverseFigures: null,
      verdicts: [],
    },
  });
  return { site, rebuilt, vpg, report };
}

it("keeps the checkpoints of failed operations that left volumes attached or a scratch, and of no others", async () => {
  const { site, rebuilt, vpg, report } = await protectedSite();
  const closed = report("1-8", steps(attachVolumes));
  const attached = report("1-6", steps(attachVolumes));
  await storeReport(site, attached);
  await storeReport(site, closed);
  await storeReport(site, { ...closed, attempt: 2, steps: steps(attachVolumes, detachVolumes) });
  await storeReport(site, report("1-99", steps(attachVolumes)));

  await rebuildTable(rebuilt);
  expect(await rebuildOperations(rebuilt)).toBe(3);
  const { checkpoints } = await listCheckpoints(rebuilt, vpg.vpgId);
  expect(checkpoints.map(({ id, pinOwners }) => [id, pinOwners])).toEqual([
    ["1-8", [leaseOf(closed.operationId, noon + limits.scratchKeptMs)]],
    ["1-6", [attached.operationId]],
  ]);
});

it("has what a rolled back operation left off at a silent source powered on when that is heard, as before", async () => {
  const { site, rebuilt, vpg, report } = await protectedSite();
  const left = { ...report("1-6", steps(shutdownSource)), phase: "RolledBack" as const, sourceLeftOff: true };
  await storeReport(site, left);
  await storeReport(site, { ...left, ...{ operationId: newId(site.clock, site.random), term: 7 } });
  await rebuildTable(rebuilt);
  await rebuildOperations(rebuilt);
  expect((await getVpg(rebuilt, vpg.vpgId)).powerOnDue).toEqual([left.operationId]);
});

it("powers a source on that the operation had shut down, when it is asked to go on", async () => {
  const { site, rebuilt, vpg, report } = await protectedSite();
  const decision = { decision: "rollback", by: "ann", at: noon, success: null, notes: "" } as const;
  const failed = { ...report("1-6", steps(shutdownSource, attachVolumes)), decision };
  await storeReport(site, failed);
  await rebuildTable(rebuilt);
  await rebuildOperations(rebuilt);
  const { operationId } = failed;
  const heard = { lastSeenAt: rebuilt.clock.now(), skewMs: 0, version: "1", processId: operationId };
  const fields = tableFields({ ...heard, attachedOperations: [], streams: [] });
  await rebuilt.table.transact([{ put: items.gateway(vpg.definition.sourceGatewayId), fields }]);
  await retryOperation(rebuilt, operator, operationId);
  await beginOperation(rebuilt, operationId);
  await issueStep(rebuilt, operationId, powerOnSource);
  const commands = await pendingCommands(rebuilt, vpg.definition.sourceGatewayId);
  expect(commands.map(({ body }) => body.kind)).toEqual(["power-on-source"]);
});
