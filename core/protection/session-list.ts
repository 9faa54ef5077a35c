import { TableBehindBucket } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Manifest } from "#core/journal/manifest.ts";
import { formatPosition, type Position } from "#core/journal/position.ts";
import type { Site } from "#core/site.ts";
import { items } from "./items.ts";
import type { SessionProgress } from "./session-progress.ts";
import { getSession, refreshProgress, type SessionState } from "./session-store.ts";

export interface KnownSession {
  readonly state: SessionState;
  readonly progress: SessionProgress;
}

/** Every session of the VPG that the table knows, in order, each as far as it reaches now. */
export async function progressOfSessions(site: Site, vpgId: Id): Promise<readonly KnownSession[]> {
  const sessions: KnownSession[] = [];
  let cursor: string | undefined;
  const { pk } = items.session(vpgId, 0);
  do {
    const page = await site.table.query(pk, cursor === undefined ? {} : { cursor });
    for (const item of page.items) {
      const state = await getSession(site, vpgId, Number(item.sk));
      sessions.push({ state, progress: await refreshProgress(site, state) });
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  return sessions;
}

/**
 * Whoever reads up to a position was told of it by this site, whose table may be an older copy since: what it lacks would be read as if
 * it had never been written. Throws `TableBehindBucket` when neither the table's sessions nor the layers reach so far.
 */
export function assertReaches(
  sessions: readonly KnownSession[],
  manifest: Pick<Manifest, "covered"> | undefined,
  vpgId: Id,
  upTo: Position,
): void {
  const { session, sequence } = upTo;
  const known = sessions.find(({ state }) => state.claim.session === session)?.progress;
  const reached = Math.max(known?.lastSequence ?? -1, manifest?.covered.get(session)?.lastSequence ?? -1);
  if (session === 0 || reached >= sequence) return;
  throw new TableBehindBucket(
    `the table of VPG ${vpgId} ends before ${formatPosition(upTo)}, up to which its journal is to be read. ` +
      "Nothing is read until the table is made again: stop the site, run farshore site rebuild, start it.",
    { vpgId, session },
  );
}
