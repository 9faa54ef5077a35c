import { Corrupt, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { getSession, isRecorded, refreshProgress } from "#core/protection/session-store.ts";
import type { Site } from "#core/site.ts";

/** What the table knows of a session's run: the bucket alone can't tell a batch that was lost from one that never came. */
export interface KnownRun {
  readonly batches: number;
  /** A SEAL stands behind them. */
  readonly sealed: boolean;
}

/** Undefined of a session that the table doesn't know, or whose object can't be read. */
export async function knownRun(site: Site, vpgId: Id, session: number): Promise<KnownRun | undefined> {
  if (!(await isRecorded(site, vpgId, session))) return undefined;
  try {
    const state = await getSession(site, vpgId, session);
    const { batches, end } = await refreshProgress(site, state);
    return { batches, sealed: end === "sealed" };
  } catch (error) {
    if (!(error instanceof NotFound || error instanceof Corrupt)) throw error;
    return undefined;
  }
}
