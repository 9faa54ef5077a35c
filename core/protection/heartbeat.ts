import type { Heartbeat, HeartbeatReply, StreamState } from "#core/api/gateway-api.ts";
import { Forbidden } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import { tableFields } from "#core/json.ts";
import type { Caller, Site } from "#core/site.ts";
import { extendCheckpoint, newestCheckpoint } from "./checkpoints.ts";
import { pendingCommands } from "./commands.ts";
import { captureRevisionOf, isSourceGateway, sourceGatewaysOf } from "./definition.ts";
import { vpgsOfGateway } from "./gateway-index.ts";
import { findGateway, type GatewayFields, streamOf } from "./gateway-store.ts";
import { items } from "./items.ts";
import { bucketKeys } from "./keys.ts";
import { protectionLimits as limits } from "./limits.ts";
import { advanceReverse } from "./reverse-journal.ts";
import type { SessionProgress } from "./session-progress.ts";
import { getSession, progressThrough } from "./session-store.ts";
import { lastSessionOf, takesSessions } from "./vpg-record.ts";
import { findVpg, type VpgRecord } from "./vpg-store.ts";

/**
 * Takes a gateway's heartbeat: notes what it says, extends the newest checkpoint of idle streams, and answers with what it
 * has to do. Safe to repeat. Throws `Forbidden` for anyone but a gateway.
 */
export async function acceptHeartbeat(site: Site, caller: Caller, heartbeat: Heartbeat): Promise<HeartbeatReply> {
  const { gatewayId } = caller;
  if (gatewayId === null) throw new Forbidden("only a gateway sends heartbeats");
  const receivedAt = site.clock.now();
  const { version, processId, streams, attachedOperations, sampledAt, means = null } = heartbeat;
  const knownAt = sampledBy(heartbeat, receivedAt);
  const fields: GatewayFields = {
    lastSeenAt: receivedAt,
    knownAt,
    skewMs: sampledAt - receivedAt,
    ...{ version, processId, streams, attachedOperations, means },
  };
  const vpgs = await vpgsOfGateway(site, gatewayId);
  const inOperation = [...vpgs.values()].some(hasOperation);
  const kept = await isNews(site, gatewayId, fields, inOperation);
  if (kept) await site.table.transact([{ put: items.gateway(gatewayId), fields: tableFields(fields) }]);
  const replies: HeartbeatReply["streams"] = [];
  for (const stream of streams) {
    const vpg = vpgs.get(stream.vpgId) ?? (await findVpg(site, stream.vpgId));
    const own = vpg !== undefined && isSourceGateway(vpg.definition, gatewayId) ? vpg : undefined;
    replies.push(vpg === undefined ? await unknownStanding(site, stream) : standing(stream, own, gatewayId));
    if (own?.role === "Preparing") await advanceReverse(site, own);
    if (own === undefined || knownAt === null || !kept) continue;
    if (isStill(own, gatewayId, stream)) await extendIdle(site, own, stream, knownAt);
  }
  const commands = await pendingCommands(site, gatewayId);
  return {
    siteTime: site.clock.now(),
    nextHeartbeatMs: pauseMs(site, inOperation || commands.length > 0),
    commands: [...commands],
    streams: replies,
  };
}

/**
 * Whether a heartbeat is worth a write. A site that is called more often than the limits say keeps one in the time that they say, as
 * long as the gateway stands the same: who judges by what is kept can't tell it from a site that is called less.
 */
async function isNews(site: Site, gatewayId: Id, said: GatewayFields, inOperation: boolean): Promise<boolean> {
  if (site.heartbeats === undefined) return true;
  const kept = await findGateway(site, gatewayId);
  if (kept === undefined || standingOf(kept) !== standingOf(said)) return true;
  const passedMs = said.lastSeenAt - kept.lastSeenAt;
  const busy = inOperation || !onlyReplicates(said);
  return passedMs < 0 || passedMs >= (busy ? limits.heartbeatBusyIntervalMs : limits.heartbeatIntervalMs);
}

const standingOf = ({ processId, attachedOperations, streams }: GatewayFields): string =>
  JSON.stringify([
    processId,
    attachedOperations,
    streams.map(({ vpgId, session, mode, idle }) => [vpgId, session, mode, idle]),
  ]);

const onlyReplicates = ({ streams }: GatewayFields): boolean => streams.every(({ mode }) => mode === "replicating");

function pauseMs({ heartbeats }: Site, busy: boolean): number {
  if (busy) return heartbeats?.busyMs ?? limits.heartbeatBusyIntervalMs;
  return heartbeats?.idleMs ?? limits.heartbeatIntervalMs;
}

/** Of a VPG that the table doesn't know: a table may be lost, so only the bucket can say that it was deleted. */
async function unknownStanding(site: Site, { vpgId }: StreamState): Promise<HeartbeatReply["streams"][number]> {
  const deleted = (await site.objects.head(bucketKeys.deletedVpg(vpgId))) !== undefined;
  return { vpgId, fenced: deleted, paused: false, deleted, term: 0 };
}

/** How the site sees a stream. A VPG that isn't this gateway's is as good as deleted to it. */
function standing(stream: StreamState, vpg: VpgRecord | undefined, gatewayId: Id): HeartbeatReply["streams"][number] {
  if (vpg === undefined) return { vpgId: stream.vpgId, fenced: true, paused: false, deleted: true, term: 0 };
  const older = stream.session > 0 && (stream.session < lastSessionOf(vpg, gatewayId) || stream.term < vpg.term);
  return {
    vpgId: vpg.vpgId,
    fenced: older || vpg.deleted || !takesSessions(vpg),
    paused: vpg.paused || vpg.journalFull,
    deleted: vpg.deleted,
    term: vpg.term,
    configRevision: captureRevisionOf(vpg.definition),
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

/** Nothing came after the stream's last marker or hold, nothing is in flight and nothing is syncing. */
function isStill(vpg: VpgRecord, gatewayId: Id, stream: StreamState): boolean {
  const { session, lastSequence, acknowledgedSequence, idle, mode } = stream;
  const still = idle && mode === "replicating" && lastSequence > 0 && lastSequence === acknowledgedSequence;
  return still && session === lastSessionOf(vpg, gatewayId) && vpg.role === "Journal" && !vpg.paused;
}

/**
 * An idle VPG makes no batches: while its stream stands still at the newest checkpoint, that still equals the source. Then its
 * age counts from when that was seen; with several source gateways, from the oldest time at which one was seen so.
 */
async function extendIdle(site: Site, vpg: VpgRecord, stream: StreamState, knownAt: number): Promise<void> {
  if (sourceGatewaysOf(vpg.definition).length > 1) return extendBarrier(site, vpg);
  const progress = await wholeProgress(site, vpg.vpgId, stream);
  if (progress?.newest?.sequence !== stream.lastSequence) return;
  await extendCheckpoint(site, vpg.vpgId, { session: stream.session, sequence: stream.lastSequence }, knownAt);
}

async function extendBarrier(site: Site, vpg: VpgRecord): Promise<void> {
  const gateways = sourceGatewaysOf(vpg.definition);
  const heard = await Promise.all(gateways.map(({ gatewayId }) => findGateway(site, gatewayId)));
  const ends = new Map<number, number>();
  for (const [index, gateway] of heard.entries()) {
    const stream = streamOf(gateway, vpg.vpgId);
    const { gatewayId } = gateways[index] ?? {};
    if (stream === undefined || gatewayId === undefined || !isStill(vpg, gatewayId, stream)) return;
    if ((await wholeProgress(site, vpg.vpgId, stream)) === undefined) return;
    ends.set(stream.session, stream.lastSequence);
  }
  const newest = await newestCheckpoint(site, vpg.vpgId);
  if (newest === undefined || newest.vector === null) return;
  const { position, vector } = newest;
  // The coordinator's stream stands at the barrier itself, behind its own hold.
  const stands = ({ session, sequence }: Position) => (session === position.session ? position.sequence : sequence);
  if (!vector.every((component) => ends.get(component.session) === stands(component))) return;
  const knownAt = Math.min(...heard.map((gateway) => gateway?.knownAt ?? 0));
  await extendCheckpoint(site, vpg.vpgId, position, knownAt);
}

/**
 * The progress of a session that is open, synced, and here up to where its stream stands. What may stand behind that takes
 * nothing from it: a later batch came after the heartbeat was sampled, and a seal says nothing of the source's disks.
 */
async function wholeProgress(site: Site, vpgId: Id, stream: StreamState): Promise<SessionProgress | undefined> {
  const progress = await progressThrough(site, await getSession(site, vpgId, stream.session), stream.lastSequence);
  const { end, syncing, lastSequence } = progress;
  return end === "open" && syncing.length === 0 && lastSequence === stream.lastSequence ? progress : undefined;
}

/** Someone waits for the gateways' part of an operation, a test or a delta-sync. */
function hasOperation({ operationId, syncOperationId, openTests }: VpgRecord): boolean {
  return operationId !== null || syncOperationId !== null || openTests.length > 0;
}
