import type { Heartbeat, HeartbeatReply, StreamState } from "#core/api/gateway-api.ts";
import { Forbidden } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { tableFields } from "#core/json.ts";
import type { Caller, Site } from "#core/site.ts";
import { extendCheckpoint } from "./checkpoints.ts";
import { pendingCommands } from "./commands.ts";
import type { GatewayFields } from "./gateway-store.ts";
import { items } from "./items.ts";
import { bucketKeys } from "./keys.ts";
import { protectionLimits as limits } from "./limits.ts";
import { getSession, refreshProgress } from "./session-store.ts";
import { findVpg, listVpgs, type VpgRecord } from "./vpg-store.ts";

/**
 * Takes a gateway's heartbeat: notes what it says, extends the newest checkpoint of idle streams, and answers with what it
 * has to do. Safe to repeat. Throws `Forbidden` for anyone but a gateway.
 */
export async function acceptHeartbeat(site: Site, caller: Caller, heartbeat: Heartbeat): Promise<HeartbeatReply> {
  const { gatewayId } = caller;
  if (gatewayId === null) throw new Forbidden("only a gateway sends heartbeats");
  const receivedAt = site.clock.now();
  const { version, processId, streams, attachedOperations, sampledAt } = heartbeat;
  const fields: GatewayFields = {
    lastSeenAt: receivedAt,
    skewMs: sampledAt - receivedAt,
    ...{ version, processId, streams, attachedOperations },
  };
  await site.table.transact([{ put: items.gateway(gatewayId), fields: tableFields(fields) }]);
  const knownAt = sampledBy(heartbeat, receivedAt);
  const replies: HeartbeatReply["streams"] = [];
  for (const stream of streams) {
    const vpg = await findVpg(site, stream.vpgId);
    const own = vpg?.definition.sourceGatewayId === gatewayId ? vpg : undefined;
    replies.push(vpg === undefined ? await unknownStanding(site, stream) : standing(stream, own));
    if (own !== undefined && knownAt !== null) await extendIdle(site, own, stream, knownAt);
  }
  const commands = await pendingCommands(site, gatewayId);
  const busy = commands.length > 0 || (await hasOperation(site, gatewayId));
  return {
    siteTime: site.clock.now(),
    nextHeartbeatMs: busy ? limits.heartbeatBusyIntervalMs : limits.heartbeatIntervalMs,
    commands: [...commands],
    streams: replies,
  };
}

/** Of a VPG that the table doesn't know: a table may be lost, so only the bucket can say that it was deleted. */
async function unknownStanding(site: Site, { vpgId }: StreamState): Promise<HeartbeatReply["streams"][number]> {
  const deleted = (await site.objects.head(bucketKeys.deletedVpg(vpgId))) !== undefined;
  return { vpgId, fenced: deleted, paused: false, deleted, term: 0 };
}

/** How the site sees a stream. A VPG that isn't this gateway's is as good as deleted to it. */
function standing(stream: StreamState, vpg: VpgRecord | undefined): HeartbeatReply["streams"][number] {
  if (vpg === undefined) return { vpgId: stream.vpgId, fenced: true, paused: false, deleted: true, term: 0 };
  const older = stream.session > 0 && (stream.session < vpg.lastSession || stream.term < vpg.term);
  return {
    vpgId: vpg.vpgId,
    fenced: older || vpg.deleted || vpg.role !== "Journal",
    paused: vpg.paused,
    deleted: vpg.deleted,
    term: vpg.term,
  };
}

/**
 * An instant of the site's clock at which the heartbeat's state had not been sampled yet or just was, however long it was on
 * its way; null when none is known. An older gateway says nothing of it and is taken to be without delay.
 */
function sampledBy({ siteTime }: Heartbeat, receivedAt: number): number | null {
  if (siteTime === undefined) return receivedAt;
  return siteTime === null ? null : Math.min(siteTime, receivedAt);
}

/**
 * An idle VPG makes no batches: its newest checkpoint still equals the source when nothing came after its marker, nothing is
 * in flight and nothing is syncing. Then its age counts from when that was seen.
 */
async function extendIdle(site: Site, vpg: VpgRecord, stream: StreamState, knownAt: number): Promise<void> {
  const { session, lastSequence, acknowledgedSequence, idle, mode } = stream;
  const still = idle && mode === "replicating" && lastSequence > 0 && lastSequence === acknowledgedSequence;
  if (!still || session !== vpg.lastSession || vpg.role !== "Journal" || vpg.paused) return;
  const progress = await refreshProgress(site, await getSession(site, vpg.vpgId, session));
  const { newest, end, syncing } = progress;
  if (end !== "open" || syncing.length > 0 || newest?.sequence !== lastSequence) return;
  if (progress.lastSequence !== lastSequence) return;
  await extendCheckpoint(site, vpg.vpgId, { session, sequence: lastSequence }, knownAt);
}

/** Someone waits for this gateway's part of an operation or a test. */
async function hasOperation(site: Site, gatewayId: Id): Promise<boolean> {
  const vpgs = await listVpgs(site);
  return vpgs.some(({ definition, operationId, openTests }) => {
    const concerns = definition.sourceGatewayId === gatewayId || definition.recoveryGatewayId === gatewayId;
    return concerns && (operationId !== null || openTests.length > 0);
  });
}
