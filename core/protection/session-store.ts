import { z } from "zod";
import { ConditionFailed, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { sessionClaimKey } from "#core/journal/keys.ts";
import { decodeSessionClaim, type SessionClaim } from "#core/journal/session-claim.ts";
import type { VolumeBounds } from "#core/journal/verify-batch.ts";
import { checkStored, tableFields } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { type BatchRow, batchRowSchema, placeSchema, rowActions, rowOf } from "./batch-row.ts";
import { ChainGuard } from "./chain-guard.ts";
import { items, ordinalText } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import { readStored } from "./read-object.ts";
import { advance, progressSchema, type SessionProgress, startOf } from "./session-progress.ts";
import { tryAgain } from "./try-again.ts";

/** A session as this process knows it: its claim never changes, its progress only grows. */
export interface SessionState {
  readonly vpgId: Id;
  readonly claim: SessionClaim;
  readonly bounds: ReadonlyMap<number, VolumeBounds>;
  progress: SessionProgress;
  /** The bucket's terms allowed batches of it when this process first got one. */
  admitted: boolean;
  readonly guard: ChainGuard;
  /** The progress as the table has it. */
  stored: Pick<SessionProgress, "batches" | "end">;
}

const sessionFieldsSchema = z.object({ progress: progressSchema.nullable() });

/** Per site, the sessions used last: what ingest needs to know without a read. */
const caches = new WeakMap<Site, Map<string, SessionState>>();

function cacheOf(site: Site): Map<string, SessionState> {
  const cache = caches.get(site) ?? new Map<string, SessionState>();
  caches.set(site, cache);
  return cache;
}

/** The session as it is known in memory; undefined when it has to be read. */
export function cachedSession(site: Site, vpgId: Id, session: number): SessionState | undefined {
  return cacheOf(site).get(`${vpgId}-${session}`);
}

/** From memory, or else from the bucket's claim and the table's progress. Throws `NotFound`. */
export async function getSession(site: Site, vpgId: Id, session: number): Promise<SessionState> {
  const cache = cacheOf(site);
  const name = `${vpgId}-${session}`;
  const known = cache.get(name);
  if (known !== undefined) {
    // Last used last: the first of the map is the one to drop.
    cache.delete(name);
    cache.set(name, known);
    return known;
  }
  const claim = await readClaim(site, vpgId, session);
  if (claim === undefined) throw new NotFound(`no session ${session} of VPG ${vpgId} was opened here`, { session });
  const stored = await storedProgress(site, vpgId, session);
  const state: SessionState = {
    vpgId,
    claim,
    bounds: new Map(claim.volumes.map(({ volume, ...bounds }) => [volume, bounds])),
    progress: stored ?? startOf(claim),
    admitted: false,
    guard: new ChainGuard(),
    stored: stored ?? { batches: 0, end: "open" },
  };
  const raced = cache.get(name);
  if (raced !== undefined) return raced;
  cache.set(name, state);
  const oldest = cache.keys().next();
  if (cache.size > limits.cachedSessionsMax && !oldest.done) cache.delete(oldest.value);
  return state;
}

export async function readClaim(site: Site, vpgId: Id, session: number): Promise<SessionClaim | undefined> {
  try {
    return decodeSessionClaim(await site.objects.get(sessionClaimKey(vpgId, session)));
  } catch (error) {
    if (error instanceof NotFound) return undefined;
    throw error;
  }
}

/** The table's item of a session: a copy of its claim for listings, and the progress as cache. */
export function sessionAction(claim: SessionClaim, vpgId: Id, progress: SessionProgress): TableAction {
  const { session, term, gatewayId, openedAt, continues } = claim;
  return {
    put: items.session(vpgId, session),
    fields: tableFields({ session, term, gatewayId, openedAt, continues, progress }),
  };
}

/**
 * R7: the valid run of a session as far as it reaches now. Rows are folded in order; where one is missing, the bucket
 * decides: a batch whose row was lost between two writes gets it back, a SEAL ends the session.
 */
export async function refreshProgress(site: Site, state: SessionState): Promise<SessionProgress> {
  await grow(site, state);
  // Rows that this process had not counted yet may be gone with what packs stand for: who took them has stored the count.
  if (state.progress.end === "open" && (await takeUpStored(site, state))) await grow(site, state);
  await store(site, state);
  return state.progress;
}

async function grow(site: Site, state: SessionState): Promise<void> {
  let progress = state.progress;
  while (progress.end === "open") {
    const folded = await foldRows(site, state, progress);
    progress = folded.end === "open" ? await mendNext(site, state, folded) : folded;
    keep(state, progress);
    if (progress.end === "open" && progress.batches === folded.batches) break;
  }
}

/** True when another process has stored a progress that is further than this one's. */
async function takeUpStored(site: Site, state: SessionState): Promise<boolean> {
  const { batches, end } = state.progress;
  const stored = await storedProgress(site, state.vpgId, state.claim.session);
  if (stored !== null) keep(state, stored);
  return state.progress.batches > batches || state.progress.end !== end;
}

async function storedProgress(site: Site, vpgId: Id, session: number): Promise<SessionProgress | null> {
  const item = await site.table.get(items.session(vpgId, session));
  return item === undefined ? null : checkStored(sessionFieldsSchema, item.fields, "a session's item").progress;
}

/**
 * The valid run as far as a sequence that was acknowledged, for whoever doesn't ask what lies behind it. An acknowledged batch
 * has its item, so the rows know; only where they fall short is the bucket asked, which mends them.
 */
export async function progressThrough(site: Site, state: SessionState, sequence: number): Promise<SessionProgress> {
  if (isShort(state, sequence)) keep(state, await foldRows(site, state, state.progress));
  if (isShort(state, sequence)) return refreshProgress(site, state);
  await store(site, state);
  return state.progress;
}

const isShort = ({ progress }: SessionState, sequence: number): boolean =>
  progress.end === "open" && progress.lastSequence < sequence;

/** Of two answers that overtook each other the one that knows more stays. */
function keep(state: SessionState, progress: SessionProgress): void {
  const further = progress.batches - state.progress.batches;
  if (further > 0 || (further === 0 && state.progress.end === "open")) state.progress = progress;
}

async function foldRows(site: Site, state: SessionState, start: SessionProgress): Promise<SessionProgress> {
  const { vpgId, claim } = state;
  const { pk } = items.batch(vpgId, claim.session, 0);
  const to = ordinalText(claim.session + 1);
  let progress = start;
  for (;;) {
    const from = items.batch(vpgId, claim.session, progress.lastSequence + 1).sk;
    const page = await site.table.query(pk, { from, to, limit: limits.rowsPerRead });
    for (const item of page.items) {
      const row = checkStored(batchRowSchema, item.fields, "a batch's item");
      if (row.batch !== progress.batches) return progress;
      progress = advance(claim, progress, row);
      if (progress.end !== "open") return progress;
    }
    if (page.cursor === undefined) return progress;
  }
}

/** Rows behind the unbroken run: batches that came before one that is still missing. */
export async function rowsAhead(site: Site, { vpgId, claim, progress }: SessionState): Promise<readonly BatchRow[]> {
  const { pk } = items.batch(vpgId, claim.session, 0);
  const from = items.batch(vpgId, claim.session, progress.lastSequence + 1).sk;
  const page = await site.table.query(pk, { from, to: ordinalText(claim.session + 1), limit: limits.rowsPerRead });
  return page.items.map((item) => checkStored(batchRowSchema, item.fields, "a batch's item"));
}

/** One step by what the bucket has under the first number without a row. */
async function mendNext(site: Site, state: SessionState, progress: SessionProgress): Promise<SessionProgress> {
  const { vpgId, claim } = state;
  const place = { vpgId, term: claim.term, session: claim.session, batch: progress.batches };
  const stored = await readStored(site.objects, place);
  if (stored === undefined) return progress;
  if (stored.kind === "seal") return { ...progress, end: "sealed" };
  const row = rowOf(stored.header, stored.hash);
  const next = advance(claim, progress, row);
  if (next.end === "broken") return next;
  const now = site.clock.now();
  await recordRow(site, vpgId, claim.session, row, Math.min(row.marker?.time ?? now, now));
  return next;
}

/**
 * Writes a batch's item, in one plain write unless it has events; that somebody else did so first is as good. Two batches
 * claim one place only when one of them breaks the chain, which no single process may know of: sequences grow along the valid
 * run, so the lower number has the place and the higher one is void.
 */
export async function recordRow(
  site: Site,
  vpgId: Id,
  session: number,
  row: BatchRow,
  validThrough: number,
): Promise<void> {
  const actions = rowActions(vpgId, session, row, validThrough);
  try {
    await site.table.transact(actions);
    return;
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
  }
  await tryAgain(`batch ${row.batch} of session ${session}`, async () => {
    const settled = await settlePlaces(site, row.batch, actions);
    if (settled !== undefined) await site.table.transact(settled);
  });
}

/**
 * The same actions, to be written over what higher numbers hold, or an item of this batch without its row; undefined when
 * the row is there, or a lower number holds a place.
 */
async function settlePlaces(
  site: Site,
  batch: number,
  actions: readonly TableAction[],
): Promise<readonly TableAction[] | undefined> {
  const settled: TableAction[] = [];
  for (const [index, action] of actions.entries()) {
    const holder = "put" in action ? await site.table.get(action.put) : undefined;
    const held = holder && checkStored(placeSchema, holder.fields, "a batch's item").batch;
    if (held !== undefined && (held < batch || (held === batch && index === 0))) return undefined;
    settled.push(holder === undefined ? action : { ...action, if: { rev: holder.rev } });
  }
  return settled;
}

/** False of a session that was opened after the copy that this table was restored from. */
export async function isRecorded(site: Site, vpgId: Id, session: number): Promise<boolean> {
  return (await site.table.get(items.session(vpgId, session))) !== undefined;
}

/**
 * Keeps the progress with the session's item every so often, so that a new process doesn't fold from the beginning. The item itself is
 * made by who opens the session, and by a rebuild: with it the table says that it knows all sessions before, too.
 */
async function store(site: Site, state: SessionState): Promise<void> {
  const { progress, stored, vpgId, claim } = state;
  if (progress.batches - stored.batches < limits.progressStoredEvery && progress.end === stored.end) return;
  if (!(await isRecorded(site, vpgId, claim.session))) return;
  await site.table.transact([sessionAction(claim, vpgId, progress)]);
  state.stored = progress;
}
