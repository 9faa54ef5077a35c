import type { Id } from "#core/ids.ts";
import type { TableItem } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { type CheckpointRow, rowOfItem } from "./checkpoint-row.ts";
import type { PlacedTime } from "./checkpoint-scan.ts";
import { items } from "./items.ts";
import type { KnownSession } from "./session-list.ts";

export interface BarrierSummary {
  readonly total: number;
  readonly oldest: PlacedTime | null;
  readonly newest: PlacedTime | null;
}

/** The summary of the rows up to a sort key, all of which are settled: listed, or never to be. */
interface Fold extends BarrierSummary {
  readonly through: string | undefined;
}

/** Per site and VPG: an optimization only, since a listed checkpoint stays listed and a process that starts folds again. */
const folds = new WeakMap<Site, Map<Id, Fold>>();

/**
 * How many barriers are listed, and the first and last of them. Unlike a marker, a barrier may have to wait for the batches of
 * other sessions than its own, so no session's own progress can count it.
 */
export async function foldBarriers(
  site: Site,
  vpgId: Id,
  sessions: ReadonlyMap<number, KnownSession>,
  isListed: (row: CheckpointRow) => boolean,
): Promise<BarrierSummary> {
  const known = folds.get(site) ?? new Map<Id, Fold>();
  folds.set(site, known);
  let settled = known.get(vpgId) ?? { through: undefined, total: 0, oldest: null, newest: null };
  let fold = settled;
  for await (const item of rowsAfter(site, vpgId, settled.through)) {
    const row = rowOfItem(item);
    if (row === undefined) continue;
    const listed = isListed(row);
    const whole = fold === settled && (listed || isSettled(row, sessions));
    fold = advanced(fold, item.sk, row, listed);
    if (whole) settled = fold;
  }
  // Of two that ran at the same time either may stay: the next one goes on from it.
  known.set(vpgId, settled);
  return fold;
}

function advanced(fold: Fold, through: string, row: CheckpointRow, listed: boolean): Fold {
  if (!listed) return { ...fold, through };
  const place = { position: { session: row.session, sequence: row.sequence }, time: row.time };
  return { through, total: fold.total + 1, oldest: fold.oldest ?? place, newest: place };
}

/** Nothing that may still arrive lists a barrier that isn't. */
function isSettled(row: CheckpointRow, sessions: ReadonlyMap<number, KnownSession>): boolean {
  return [row, ...(row.vector ?? [])].every(({ session, sequence }) => {
    const progress = sessions.get(session)?.progress;
    return progress !== undefined && (progress.end !== "open" || progress.lastSequence >= sequence);
  });
}

async function* rowsAfter(site: Site, vpgId: Id, after: string | undefined): AsyncGenerator<TableItem> {
  const { pk } = items.batch(vpgId, 0, 0);
  let from = after === undefined ? "" : behind(after);
  for (;;) {
    const page = await site.table.query(pk, from === "" ? {} : { from });
    yield* page.items;
    const last = page.items.at(-1);
    if (page.cursor === undefined || last === undefined) return;
    from = behind(last.sk);
  }
}

/** Sort keys are of one length, so that nothing stands between this one and the next. */
const behind = (sk: string): string => `${sk}!`;
