import type { CheckpointScan } from "#core/protection/checkpoint-scan.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { findGateway } from "#core/protection/gateway-store.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { lostTailsInBucket } from "#core/protection/lost-tails.ts";
import { unknownOperation } from "#core/protection/unknown-operation.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import type { Site } from "#core/site.ts";
import { type ClockTrouble, clockTrouble } from "./policy.ts";

export type WaitReason = ClockTrouble | "lost-tail-kept" | "operation-forgotten" | "table-behind-bucket";

/** Why nothing of the VPG may age now: VMs of an operation that the table has forgotten, or never knew, may run over a checkpoint that nothing pins, two clocks don't agree, or a commit has left this site's journal so lately that what is behind is kept whole. */
export async function waitReason(site: Site, vpg: VpgRecord, scan: CheckpointScan): Promise<WaitReason | undefined> {
  // What failed with its volumes attached has its pin still.
  if (vpg.forgotten.some(({ failed }) => failed === undefined)) return "operation-forgotten";
  if ((await unknownOperation(site, vpg)) !== undefined) return "table-behind-bucket";
  const now = site.clock.now();
  const heard = await Promise.all(
    sourceGatewaysOf(vpg.definition).map(({ gatewayId }) => findGateway(site, gatewayId)),
  );
  const { newest } = scan.summary();
  // What a source's clock said when it was heard last; our own of then would prove nothing about ours of now.
  const sourceTimes = heard.flatMap((gateway) => (gateway === undefined ? [] : [gateway.lastSeenAt + gateway.skewMs]));
  const trouble = clockTrouble(
    now,
    scan.digest?.fields.madeAt,
    newest === null ? sourceTimes : [...sourceTimes, newest.time],
  );
  if (trouble !== undefined) return trouble;
  const { forkedAt } = await lostTailsInBucket(site, vpg.vpgId, scan.sessions);
  const young = forkedAt !== undefined && now - forkedAt < protectionLimits.lostTailKeptMs;
  return young ? "lost-tail-kept" : undefined;
}
