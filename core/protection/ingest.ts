import type { BatchReply } from "#core/api/gateway-api.ts";
import { Diverged, Fenced, Forbidden, Gap, JournalFull, MalformedBatch, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { BatchEvent, BatchHeader, BatchPlace } from "#core/journal/batch.ts";
import { decodeObject } from "#core/journal/decode.ts";
import { batchHash } from "#core/journal/hash.ts";
import { batchKey } from "#core/journal/keys.ts";
import type { SessionClaim } from "#core/journal/session-claim.ts";
import { verifyBatch } from "#core/journal/verify-batch.ts";
import { checkStored } from "#core/json.ts";
import type { Caller, Site } from "#core/site.ts";
import { type BatchRow, batchRowSchema, rowOf } from "./batch-row.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import {
  cachedSession,
  getSession,
  recordRow,
  refreshProgress,
  rowsAhead,
  type SessionState,
} from "./session-store.ts";
import { highestTerm } from "./terms.ts";

export interface SentBatch extends BatchPlace {
  readonly vpgId: Id;
  readonly body: Uint8Array;
  /** From the batch's last record to its sending, by the gateway's clock, ms. */
  readonly ageMs: number;
  /** When the request began, by the site's clock: a body may take long to come. By default it just did. */
  readonly beganAt?: number;
}

/**
 * R7: commits a batch by creating its object, then records it in the table. A batch of a session this
 * process knows costs one put and one write of one item and no read. Whatever is wrong with it is refused before anything is
 * stored. Throws `Fenced`, `Forbidden`, `MalformedBatch`, `UnsupportedFormat`, `Gap`, `Diverged`.
 */
export async function ingestBatch(site: Site, caller: Caller, sent: SentBatch): Promise<BatchReply> {
  const { vpgId, term, session, batch, body } = sent;
  const beganAt = sent.beganAt ?? site.clock.now();
  const known = cachedSession(site, vpgId, session);
  const state = known?.admitted === true ? known : await admit(site, sent);
  if (caller.role !== "gateway" || caller.gatewayId !== state.claim.gatewayId) {
    throw new Forbidden(`session ${session} of VPG ${vpgId} belongs to another gateway`, { vpgId, session });
  }
  if (term !== state.claim.term) throw fenced(sent, `session ${session} is of term ${state.claim.term}`);
  const header = verifyBatch(body, { vpgId, term, session, batch, volumes: state.bounds });
  if (header.events.length > limits.eventsPerBatchMax) {
    throw new MalformedBatch(`batch refused: recordCount has more than ${limits.eventsPerBatchMax} events`, {
      field: "recordCount",
    });
  }
  checkEvents(state, header);
  await checkPlace(site, state, sent);
  await assertTaken(site, sent);
  const row = rowOf(header, batchHash(body));
  if (batch < state.progress.batches - limits.gapWindow) return sentBefore(site, sent, row);
  const problem = state.guard.enter(row, state.progress);
  if (problem !== undefined) throw diverged(sent, `batch ${batch} ${problem}`);
  const created = await create(site, state, sent);
  const validThrough = beganAt - Math.max(0, sent.ageMs);
  await recordRow(site, vpgId, session, row, validThrough);
  return { batch, sha256: row.sha256, duplicate: created === "exists" };
}

/** What was seen of a VPG. */
interface Look {
  readonly at: number;
  readonly full: boolean;
  readonly deleted: boolean;
}

/** Per site, when a VPG was last looked at: a read in a while, and none a batch. */
const looked = new WeakMap<Site, Map<Id, Look>>();

/**
 * Throws `JournalFull`: its gateway goes on serving its guests, and notes what is dirty (R6). Throws `Fenced` for a VPG that was
 * deleted, whose batches retention may have taken: put again, nobody would delete them any more.
 */
async function assertTaken(site: Site, sent: SentBatch): Promise<void> {
  const { vpgId } = sent;
  const known = looked.get(site) ?? new Map<Id, Look>();
  looked.set(site, known);
  const at = site.clock.monotonic();
  let last = known.get(vpgId);
  if (last === undefined || at - last.at > limits.journalFullLookMs) {
    const item = await site.table.get(items.vpg(vpgId));
    last = { at, full: item?.fields["journalFull"] === true, deleted: item?.fields["deleted"] === true };
    known.set(vpgId, last);
  }
  if (last.deleted) throw fenced(sent, "its VPG was deleted");
  if (last.full)
    throw new JournalFull(`the journal of VPG ${vpgId} has reached its limit, and its policy is to pause`, { vpgId });
}

/**
 * So far behind the unbroken run a pack may stand for the batch, and creating its object again would prove nothing (R8): the row
 * tells whether it is the same. Throws `Diverged` when it isn't, `Fenced` when retention has taken it.
 */
async function sentBefore(site: Site, sent: SentBatch, row: BatchRow): Promise<BatchReply> {
  const item = await site.table.get(items.batch(sent.vpgId, sent.session, row.lastSequence));
  const known = item && checkStored(batchRowSchema, item.fields, "a batch's item");
  if (known?.batch !== row.batch) throw fenced(sent, "it was acknowledged long ago, and retention has taken it since");
  if (known.sha256 === row.sha256) return { batch: row.batch, sha256: row.sha256, duplicate: true };
  throw diverged(sent, `other bytes stand at batch ${sent.batch} of session ${sent.session}`);
}

async function create(site: Site, state: SessionState, sent: SentBatch): Promise<"created" | "exists"> {
  try {
    const created = await site.objects.put(batchKey(sent), sent.body, { ifAbsent: true });
    if (created === "exists") await compareWithStored(site, state, sent);
    return created;
  } catch (error) {
    // What stands there, if anything does, is not this batch for sure: the next one that comes is judged anew.
    state.guard.forget(sent.batch);
    throw error;
  }
}

/**
 * The first batch of a session that this process sees. The bucket is asked, not the table: a claim of a newer term or a
 * SEAL refuses the session even when the table was restored from an older copy.
 */
async function admit(site: Site, sent: SentBatch): Promise<SessionState> {
  const { vpgId, term, session } = sent;
  let state: SessionState;
  try {
    state = await getSession(site, vpgId, session);
  } catch (error) {
    if (error instanceof NotFound) throw fenced(sent, `session ${session} was never opened at this site`);
    throw error;
  }
  const highest = await highestTerm(site, vpgId);
  if (highest !== undefined && highest.n > term) throw fenced(sent, `term ${highest.n} has begun`);
  await refreshProgress(site, state);
  for (const row of await rowsAhead(site, state)) state.guard.enter(row, state.progress);
  state.admitted = true;
  return state;
}

/** Which records may stand in a session is settled by its object; a gateway that takes it for another kind is refused. */
function checkEvents({ claim }: SessionState, { events }: BatchHeader): void {
  for (const { kind } of events) {
    if (hasPlace(claim, kind)) continue;
    throw new MalformedBatch(`batch refused: records.kind ${kind} has no place in session ${claim.session}`, {
      field: "records.kind",
    });
  }
}

/** Seeds are data and their end: they settle nothing of what is synced, what is a checkpoint or how large a volume is. */
function hasPlace({ seed, gateways, gatewayId }: SessionClaim, kind: BatchEvent["kind"]): boolean {
  if (seed) return kind === "sync-begin" || kind === "close";
  if (gateways === undefined) return kind !== "hold" && kind !== "barrier";
  return kind !== "marker" && (kind !== "barrier" || gateways[0] === gatewayId);
}

/** Refuses what is behind the session's end or too far ahead of its unbroken run. */
async function checkPlace(site: Site, state: SessionState, sent: SentBatch): Promise<void> {
  if (sent.batch > state.progress.batches + limits.gapWindow) await refreshProgress(site, state);
  const { progress } = state;
  if (progress.end === "sealed" && sent.batch >= progress.batches) {
    throw fenced(sent, `session ${sent.session} was sealed at batch ${progress.batches}`);
  }
  if (progress.end === "broken" && sent.batch >= progress.batches) {
    throw diverged(sent, `batch ${progress.batches} of session ${sent.session} doesn't follow the one before`);
  }
  if (sent.batch > progress.batches + limits.gapWindow) {
    throw new Gap(`batch ${sent.batch} is more than ${limits.gapWindow} ahead; send batch ${progress.batches} first`, {
      expected: progress.batches,
      batch: sent.batch,
    });
  }
}

/** The same bytes: a resent batch. A SEAL: the session is over. Anything else must never be. */
async function compareWithStored(site: Site, state: SessionState, sent: SentBatch): Promise<void> {
  const stored = await site.objects.get(batchKey(sent));
  if (Buffer.compare(stored, sent.body) === 0) return;
  const object = decodeObject(stored);
  if (object.kind === "seal") {
    await refreshProgress(site, state);
    throw fenced(sent, `session ${sent.session} was sealed at batch ${sent.batch} (${object.seal.reason})`);
  }
  throw diverged(sent, `other bytes stand at batch ${sent.batch} of session ${sent.session}`);
}

function diverged(sent: BatchPlace, what: string): Diverged {
  return new Diverged(
    `${what}; two gateways may run with the same identity. Stop one, then restart the other: ` +
      "its new session compares the disks again",
    { session: sent.session, batch: sent.batch },
  );
}

function fenced(sent: BatchPlace, why: string): Fenced {
  return new Fenced(`batch ${sent.batch} refused: ${why}; this stream must stop writing here`, {
    vpgId: sent.vpgId,
    term: sent.term,
    session: sent.session,
  });
}
