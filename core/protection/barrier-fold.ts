import type { Id } from "#core/ids.ts";
import type { Digest } from "#core/journal/digest.ts";
import type { Position } from "#core/journal/position.ts";
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

/** The summary of a coordinator's session up to a sequence: every barrier there is listed, or never will be. */
interface Fold extends BarrierSummary {
  /** What retention has looked at ends here; it is not folded. */
  readonly start: number;
  readonly through: number;
}

const nothing: Fold = { start: 0, through: 0, total: 0, oldest: null, newest: null };

/** Per site, by VPG and session: an optimization only, since a listed checkpoint stays listed and a new process folds again. */
const folds = new WeakMap<Site, Map<string, Fold>>();

/** Whether the session's gateway makes the barriers of its VPG: only such sessions have any. */
export const coordinates = ({ state: { claim } }: KnownSession): boolean => claim.gateways?.[0] === claim.gatewayId;

/**
 * How many barriers are listed behind what retention has looked at, and the first and last of them. Unlike a marker, a barrier may have to wait for the batches of
 * other sessions than its own, so no session's own progress can count it.
 */
export async function foldBarriers(
  site: Site,
  vpgId: Id,
  sessions: ReadonlyMap<number, KnownSession>,
  digest: Digest | undefined,
  isListed: (row: CheckpointRow) => boolean,
): Promise<BarrierSummary> {
  let sum: BarrierSummary = nothing;
  for (const known of sessions.values()) {
    if (!coordinates(known)) continue;
    const { total, oldest, newest } = await foldSession(site, vpgId, known, sessions, digest, isListed);
    sum = { total: sum.total + total, oldest: sum.oldest ?? oldest, newest: newest ?? sum.newest };
  }
  return sum;
}

async function foldSession(
  site: Site,
  vpgId: Id,
  { state, progress }: KnownSession,
  sessions: ReadonlyMap<number, KnownSession>,
  digest: Digest | undefined,
  isListed: (row: CheckpointRow) => boolean,
): Promise<BarrierSummary> {
  const { session } = state.claim;
  const known = folds.get(site) ?? new Map<string, Fold>();
  folds.set(site, known);
  // Retention moves on, and then what lies before it is told by its digest.
  const passed = digest?.thinnedThrough;
  const name = `${vpgId}-${session}`;
  const start = passed === undefined ? 0 : passedIn(passed, session, progress.lastSequence);
  const before = known.get(name);
  let settled: Fold = before?.start === start ? before : { ...nothing, start, through: start };
  let fold = settled;
  // Inside the unbroken run alone: no row comes there any more.
  const to = items.batch(vpgId, session, progress.lastSequence + 1).sk;
  for await (const item of rowsBetween(site, items.batch(vpgId, session, settled.through + 1), to)) {
    const row = rowOfItem(item);
    if (row === undefined) continue;
    const listed = isListed(row);
    const whole = fold === settled && (listed || isSettled(row, sessions));
    fold = advanced(fold, row, listed);
    if (whole) settled = fold;
  }
  // Nothing waits, so that what has no barrier isn't read again either. Of two that ran at once either may stay.
  if (fold === settled) settled = { ...settled, through: progress.lastSequence };
  known.set(name, settled);
  return fold;
}

/** The last sequence of the session that retention has looked at. */
function passedIn(passed: Position, session: number, last: number): number {
  if (passed.session < session) return 0;
  return passed.session > session ? last : passed.sequence;
}

function advanced(fold: Fold, { session, sequence, time }: CheckpointRow, listed: boolean): Fold {
  if (!listed) return { ...fold, through: sequence };
  const place = { position: { session, sequence }, time };
  return { ...fold, through: sequence, total: fold.total + 1, oldest: fold.oldest ?? place, newest: place };
}

/** Nothing that may still arrive lists a barrier that isn't. */
function isSettled(row: CheckpointRow, sessions: ReadonlyMap<number, KnownSession>): boolean {
  return (row.vector ?? []).every(({ session, sequence }) => {
    const progress = sessions.get(session)?.progress;
    return progress !== undefined && (progress.end !== "open" || progress.lastSequence >= sequence);
  });
}

async function* rowsBetween(
  site: Site,
  { pk, sk }: { readonly pk: string; readonly sk: string },
  to: string,
): AsyncGenerator<TableItem> {
  if (sk >= to) return;
  let cursor: string | undefined;
  do {
    const page = await site.table.query(pk, cursor === undefined ? { from: sk, to } : { from: sk, to, cursor });
    yield* page.items;
    cursor = page.cursor;
  } while (cursor !== undefined);
}
