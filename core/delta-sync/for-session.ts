import type { Heartbeat, OpenSession, OpenSessionReply } from "#core/api/gateway-api.ts";
import { chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { JournalFull, OperationInProgress, ReplicationPaused } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { isSourceGateway } from "#core/protection/definition.ts";
import { lastSessionOf } from "#core/protection/vpg-record.ts";
import { findVpg } from "#core/protection/vpg-store.ts";
import type { Caller, Site } from "#core/site.ts";
import { plannedPagesMin } from "#core/sync/limits.ts";
import { startDeltaSync } from "./start.ts";

const expected = [OperationInProgress, ReplicationPaused, JournalFull];

/**
 * A session that begins with a comparison of more than a few pages gets a delta-sync, under the nonce that it was opened with;
 * so an open that is repeated starts no second one. Without it, while another one runs, or while nothing is journaled, the gateway compares by itself. Never throws.
 */
export async function syncForSession(
  site: Site,
  caller: Caller,
  { vpgId, nonce, purpose }: OpenSession,
  opened: OpenSessionReply,
): Promise<void> {
  const pages = opened.volumes.map(({ sizeBytes }) => Math.ceil(chunkCount(sizeBytes) / chunksPerPage));
  const compared = purpose !== "seed" && opened.sync === "delta" && opened.journalEnd.session > 0;
  if (!compared || pages.reduce((sum, count) => sum + count, 0) <= plannedPagesMin) return;
  await start(site, caller, vpgId, nonce);
}

/**
 * A sync inside a session, as after an overflow, that its gateway asks a delta-sync for gets one under the id that it asks by, once,
 * whatever becomes of it. Never throws.
 */
export async function syncForStreams(site: Site, caller: Caller, { streams }: Heartbeat): Promise<void> {
  for (const { vpgId, session, syncRequestId } of streams) {
    if (syncRequestId === undefined || caller.gatewayId === null) continue;
    const vpg = await findVpg(site, vpgId);
    if (vpg === undefined || !isSourceGateway(vpg.definition, caller.gatewayId)) continue;
    // It is said again until the gateway's part has begun.
    if (vpg.syncOperationId !== null || session !== lastSessionOf(vpg, caller.gatewayId)) continue;
    await start(site, caller, vpgId, syncRequestId);
  }
}

async function start(site: Site, caller: Caller, vpgId: Id, requestId: Id): Promise<void> {
  try {
    await startDeltaSync(site, caller, vpgId, { requestId, options: { force: false } });
  } catch (error) {
    // The session is open, and that is what counts for production.
    if (!expected.some((type) => error instanceof type)) site.log.warn("session-without-delta-sync", { vpgId, error });
  }
}
