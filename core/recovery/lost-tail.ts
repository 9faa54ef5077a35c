import { checkStored } from "#core/json.ts";
import { type BatchRow, batchRowSchema, writesIn } from "#core/protection/batch-row.ts";
import { type CheckpointPart, checkpointParts } from "#core/protection/checkpoints.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { findGateway, streamOf } from "#core/protection/gateway-store.ts";
import { items, ordinalText } from "#core/protection/items.ts";
import type { LostTail, Operation } from "#core/protection/operation.ts";
import { readStored } from "#core/protection/read-object.ts";
import { type KnownSession, progressOfSessions } from "#core/protection/session-list.ts";
import type { VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { checkpointOf } from "./plan-command.ts";
import { stepNames, stepOk } from "./steps.ts";

/**
 * What a committed failover left behind: the writes that this site holds beyond the recovered checkpoint, once the old term's
 * sessions are sealed. It is exact when the source was shut down and its gateway has said since then that this was its last
 * sequence, or when a move proved it; else the source may have acknowledged more than ever came here. `bytes` are journal bytes.
 */
export async function measureLostTail(site: Site, vpg: VpgRecord, operation: Operation): Promise<LostTail> {
  const parts = await checkpointParts(site, vpg, checkpointOf(operation));
  const sessions = (await progressOfSessions(site, vpg.vpgId)).filter(
    ({ state }) => state.claim.term <= operation.term,
  );
  let writes = 0;
  let bytes = 0;
  let lastTime = operation.checkpointTime ?? 0;
  for (const known of sessions) {
    for await (const row of rowsAfter(site, known, recoveredIn(known, parts, sessions))) {
      const count = writesIn(row);
      if (count <= 0) continue;
      writes += count;
      bytes += row.bytes;
      lastTime = Math.max(lastTime, await lastSourceTime(site, known, row.batch));
    }
  }
  const exact = stepOk(operation, stepNames.proveFinal) || (await sourcesSaidLast(site, vpg, operation, sessions));
  const ms = lastTime - (operation.checkpointTime ?? lastTime);
  return { certainty: exact ? "exact" : "at-least", ms, writes, bytes };
}

/** The last sequence of a session that the checkpoint has: all of an older one of its gateway, nothing of a newer one. */
function recoveredIn(
  { state }: KnownSession,
  parts: readonly CheckpointPart[],
  sessions: readonly KnownSession[],
): number {
  const { session, gatewayId } = state.claim;
  const gatewayIn = (other: number) =>
    sessions.find((known) => known.state.claim.session === other)?.state.claim.gatewayId;
  const own = parts.find(({ position }) => gatewayIn(position.session) === gatewayId)?.position;
  // Seeds, or what another gateway captured before: of the image when it stands before all that the checkpoint names.
  if (own === undefined)
    return parts.every(({ position }) => session < position.session) ? Number.POSITIVE_INFINITY : 0;
  if (session > own.session) return 0;
  return session < own.session ? Number.POSITIVE_INFINITY : own.sequence;
}

async function* rowsAfter(site: Site, { state, progress }: KnownSession, sequence: number): AsyncGenerator<BatchRow> {
  const { pk } = items.batch(state.vpgId, state.claim.session, 0);
  const { session } = state.claim;
  const range = { from: ordinalText(session), to: ordinalText(session + 1), reverse: true };
  let cursor: string | undefined;
  do {
    const page = await site.table.query(pk, cursor === undefined ? range : { ...range, cursor });
    for (const item of page.items) {
      const row = checkStored(batchRowSchema, item.fields, "a batch's item");
      // A checkpoint's position is its batch's last record, so what comes after it are whole batches.
      if (row.lastSequence <= sequence) return;
      if (row.batch < progress.batches) yield row;
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
}

async function lastSourceTime(site: Site, { state }: KnownSession, batch: number): Promise<number> {
  const { vpgId, claim } = state;
  const stored = await readStored(site.objects, { vpgId, term: claim.term, session: claim.session, batch });
  return stored?.kind === "batch" ? stored.header.sourceTimeLast : 0;
}

/** Whether every source gateway, heard of since the shutdown, has nothing that isn't here. */
async function sourcesSaidLast(
  site: Site,
  vpg: VpgRecord,
  operation: Operation,
  sessions: readonly KnownSession[],
): Promise<boolean> {
  const stoppedAt = operation.steps[stepNames.shutdownSource]?.endedAt ?? null;
  if (!operation.sourceWasShutDown || stoppedAt === null) return false;
  for (const { gatewayId } of sourceGatewaysOf(vpg.definition)) {
    const newest = sessions.findLast(({ state }) => state.claim.gatewayId === gatewayId);
    const source = await findGateway(site, gatewayId);
    const stream = streamOf(source, vpg.vpgId);
    if (newest === undefined || source === undefined || stream === undefined) return false;
    // What was written while it didn't journal, or isn't settled by a sync yet, has no sequence.
    if (source.lastSeenAt < stoppedAt || stream.mode !== "replicating") return false;
    if (stream.session !== newest.state.claim.session) return false;
    if (stream.lastSequence !== newest.progress.lastSequence) return false;
  }
  return true;
}
