import type { CheckpointView, VpgView } from "#core/api/site-api.ts";
import type { Site } from "#core/site.ts";
import { suspicionOf } from "#core/trigger/suspicion.ts";
import type { ListedCheckpoint } from "./checkpoint-row.ts";
import { CheckpointScan } from "./checkpoint-scan.ts";
import { findGateway, isConnected, streamOf } from "./gateway-store.ts";
import { findPhase } from "./operation-phase.ts";
import { statusOf } from "./status.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** A checkpoint as the API tells it. */
export function checkpointView({ id, time, validThrough, tags, pins }: ListedCheckpoint): CheckpointView {
  return { id, time, validThrough, tags: [...tags], pins };
}

/** A VPG as people see it, with its status worked out from what is known now. */
export async function vpgView(site: Site, vpg: VpgRecord): Promise<VpgView> {
  const { definition, vpgId } = vpg;
  const now = site.clock.now();
  const scan = await CheckpointScan.open(site, vpgId);
  const summary = scan.summary();
  const newest = summary.newest && (await scan.at(summary.newest.position));
  const oldest = summary.oldest && (await scan.at(summary.oldest.position));
  const gateway = await findGateway(site, definition.sourceGatewayId);
  const connected = isConnected(gateway, now);
  const stream = streamOf(gateway, vpgId);
  const mode = stream?.mode ?? "no-session";
  const operation = vpg.operationId === null ? undefined : await findPhase(site, vpg.operationId);
  const rpoMs = newest ? Math.max(0, now - newest.validThrough) : null;
  const historyHeldMs = newest && oldest ? newest.time - oldest.time : 0;
  const { status, substatus } = statusOf({
    role: vpg.role,
    deleted: vpg.deleted,
    paused: vpg.paused,
    needsConfiguration: vpg.needsConfiguration,
    operation: operation ?? null,
    opened: vpg.lastSession > 0,
    broken: scan.sessions.at(-1)?.progress.end === "broken",
    connected,
    mode,
    rpoMs,
    targetRpoMs: definition.targetRpoMs,
    historyHeldMs,
    historyDueMs: Math.min(
      definition.historyMs,
      summary.newest && summary.oldest ? summary.newest.time - summary.oldest.time : 0,
    ),
  });
  return {
    vpgId,
    name: definition.name,
    status,
    substatus,
    role: vpg.role,
    term: vpg.term,
    protectedSite: definition.protectedSite,
    sourceGateway: definition.sourceGatewayName,
    recoveryGateway: definition.recoveryGatewayName,
    compute: definition.compute,
    targetRpoMs: definition.targetRpoMs,
    rpoMs,
    historyMs: definition.historyMs,
    historyHeldMs,
    checkpoints: summary.total,
    newestCheckpoint: newest ? checkpointView(newest) : null,
    oldestCheckpoint: oldest ? checkpointView(oldest) : null,
    operationId: vpg.operationId,
    openTests: vpg.openTests,
    suspicion: await suspicionOf(site, vpg),
    backlogBytes: stream?.backlogBytes ?? 0,
    lagMs: stream?.lagMs ?? 0,
    mode,
    sync: stream?.sync ?? null,
    writtenBytes: stream?.writtenBytes ?? 0,
    shippedBytes: stream?.shippedBytes ?? 0,
    journalBytes: summary.journalBytes,
    vms: definition.vms.map((vm) => ({
      name: vm.name,
      bootGroup: vm.bootGroup,
      volumes: vm.volumes.map(({ volume, name, sizeBytes }) => ({ volume, name, sizeBytes })),
    })),
  };
}
