import type { OpenSession, OpenSessionReply } from "#core/api/gateway-api.ts";
import { chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { JournalFull, OperationInProgress, ReplicationPaused } from "#core/errors.ts";
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
  try {
    await startDeltaSync(site, caller, vpgId, { requestId: nonce, options: { force: false } });
  } catch (error) {
    // The session is open, and that is what counts for production.
    if (!expected.some((type) => error instanceof type)) site.log.warn("session-without-delta-sync", { vpgId, error });
  }
}
