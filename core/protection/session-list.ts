import type { Id } from "#core/ids.ts";
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
