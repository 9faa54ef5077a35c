import { expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { newId } from "#core/ids.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import type { Step } from "#core/protection/operation.ts";
import { rebuildTable } from "#core/protection/rebuild.ts";
import { makeSite, openAsk, protect } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { rebuildOperations } from "./rebuild-operations.ts";
import { type Report, storeReport } from "./report.ts";
import { stepNames } from "./steps.ts";

const noon = Date.UTC(2030, 0, 1, 12);

it("keeps the checkpoints of failed operations that left volumes attached, and of no others", async () => {
  const site = makeSite();
  const { vpg, source } = await protect(site);
  const { vpgId } = vpg;
  const stream = new Stream(vpgId, await openSession(site, source, openAsk(site, vpgId)));
  for (const sent of [stream.synced(), stream.checkpoint(noon), stream.checkpoint(noon + 1)]) {
    await ingestBatch(site, source, sent);
  }
  const done: Step = { state: "done", startedAt: noon, endedAt: noon, result: "", error: null };
  const steps = (...names: string[]) => names.map((step) => ({ step, ...done, durationMs: 0 }));
  const report = (checkpointId: string, attempt: number, ended: Report["steps"]): Report => ({
    formatVersion: 1,
    operationId: newId(site.clock, site.random),
    attempt,
    kind: "failover-live",
    phase: "Failed",
    vpgId,
    ...{ vpgName: "shop", protectedSite: "berlin", recoverySite: "recovery", initiatedBy: "ann", incident: null },
    ...{ startedAt: noon, endedAt: noon, checkpointId, checkpointTime: noon, rtoMs: null, term: 1 },
    ...{ decision: null, lostTail: null, lostTailText: "", error: null, steps: ended, exports: [] },
  });
  const { attachVolumes, detachVolumes } = stepNames;
  const open = report("1-6", 1, steps(attachVolumes));
  const closed = report("1-8", 1, steps(attachVolumes));
  await storeReport(site, open);
  await storeReport(site, closed);
  await storeReport(site, { ...closed, attempt: 2, steps: steps(attachVolumes, detachVolumes) });
  await storeReport(site, report("1-99", 1, steps(attachVolumes)));

  const rebuilt = { ...site, table: new SqliteTable(":memory:") };
  await rebuildTable(rebuilt);
  expect(await rebuildOperations(rebuilt)).toBe(3);
  const { checkpoints } = await listCheckpoints(rebuilt, vpgId);
  expect(checkpoints.map(({ id, pins }) => [id, pins])).toEqual([
    ["1-8", 0],
    ["1-6", 1],
  ]);
});
