import { parsePosition } from "#core/journal/position.ts";
import { checkStored } from "#core/json.ts";
import { type BatchRow, batchRowSchema } from "#core/protection/batch-row.ts";
import { findGateway, streamOf } from "#core/protection/gateway-store.ts";
import { items, ordinalText } from "#core/protection/items.ts";
import type { LostTail, Operation } from "#core/protection/operation.ts";
import { readStored } from "#core/protection/read-object.ts";
import { type KnownSession, progressOfSessions } from "#core/protection/session-list.ts";
import type { VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { checkpointOf } from "./plan-command.ts";
import { stepNames } from "./steps.ts";

/**
 * What a committed failover left behind: the writes that this site holds beyond the recovered checkpoint, once the old term's
 * sessions are sealed. It is exact when the source was shut down and its gateway has said since then that this was its last
 * sequence; else the source may have acknowledged more than ever came here. `bytes` are journal bytes.
 */
export async function measureLostTail(site: Site, vpg: VpgRecord, operation: Operation): Promise<LostTail> {
  const from = parsePosition(checkpointOf(operation));
  const sessions = (await progressOfSessions(site, vpg.vpgId)).filter(
    ({ state }) => state.claim.session >= from.session && state.claim.term <= operation.term,
  );
  let writes = 0;
  let bytes = 0;
  let lastTime = operation.checkpointTime ?? 0;
  for (const known of sessions) {
    const after = known.state.claim.session === from.session ? from.sequence : 0;
    for await (const row of rowsAfter(site, known, after)) {
      const count = row.lastSequence - row.firstSequence + 1 - row.events.length - (row.marker === null ? 0 : 1);
      if (count <= 0) continue;
      writes += count;
      bytes += row.bytes;
      lastTime = Math.max(lastTime, await lastSourceTime(site, known, row.batch));
    }
  }
  const newest = sessions.at(-1);
  const exact = newest !== undefined && (await sourceSaidLast(site, vpg, operation, newest));
  const ms = lastTime - (operation.checkpointTime ?? lastTime);
  return { certainty: exact ? "exact" : "at-least", ms, writes, bytes };
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
      // A checkpoint is its batch's last record, so what comes after it are whole batches.
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

/** Whether the source's gateway, heard of since the shutdown, has nothing that isn't here. */
async function sourceSaidLast(
  site: Site,
  vpg: VpgRecord,
  operation: Operation,
  { state, progress }: KnownSession,
): Promise<boolean> {
  const stoppedAt = operation.steps[stepNames.shutdownSource]?.endedAt ?? null;
  if (!operation.sourceWasShutDown || stoppedAt === null) return false;
  const source = await findGateway(site, vpg.definition.sourceGatewayId);
  const stream = streamOf(source, vpg.vpgId);
  if (source === undefined || stream === undefined || source.lastSeenAt < stoppedAt) return false;
  // What was written while it didn't journal, or isn't settled by a sync yet, has no sequence.
  if (stream.mode !== "replicating") return false;
  return stream.session === state.claim.session && stream.lastSequence === progress.lastSequence;
}
