import type { Id } from "#core/ids.ts";
import type { Digest } from "#core/journal/digest.ts";
import { formatPosition } from "#core/journal/position.ts";
import type { SessionClaim } from "#core/journal/session-claim.ts";
import { readValidRun } from "#core/journal/valid-run.ts";
import type { TableAction } from "#core/ports.ts";
import { StoredBatches } from "#core/recovery/stored-batches.ts";
import type { Site } from "#core/site.ts";
import { transactActionsMax } from "#core/table-rules.ts";
import { type BatchRow, type CheckpointState, rowActions, rowOf } from "./batch-row.ts";
import { advance, type SessionProgress, startOf } from "./session-progress.ts";
import { sessionAction } from "./session-store.ts";

/** Checkpoint id to what operations noted on it. */
export type Notes = ReadonlyMap<string, CheckpointState["notes"]>;

/** Bytes of one transaction as JSON: far below what a table takes, which counts in its own way. A batch of many places may have 200 KB. */
const bytesMost = 1024 * 1024;

/** The items of one session from its objects: every batch of its unbroken run, its checkpoints and events, its progress. */
export async function rebuildSession(
  site: Pick<Site, "objects" | "table" | "clock">,
  vpgId: Id,
  claim: SessionClaim,
  notes: Notes,
  digest?: Digest,
): Promise<SessionProgress> {
  const stored = new StoredBatches(site.objects, vpgId);
  let progress = startOf(claim);
  let actions: TableAction[] = [];
  let bytes = 0;
  const packs = digest?.packsOf(claim.session) ?? [];
  const end = await readValidRun(site.objects, stored, claim, packs, async ({ packed }, header, hash) => {
    const whole = rowOf(header, hash);
    progress = advance(claim, progress, whole, packed);
    // Of what is in packs the table has checkpoints and events; views find the rest by layers.
    const row = packed === undefined ? whole : { ...whole, batch: packed.to - 1, touched: [] };
    const { session } = claim;
    const gone = packed !== undefined && digest?.lists({ session, sequence: row.lastSequence }) !== true;
    const more = actionsOf(site.clock.now(), vpgId, session, row, notes).slice(
      gone || (row.marker === null && packed !== undefined) ? 1 : 0,
    );
    const moreBytes = JSON.stringify(more).length;
    if (actions.length + more.length > transactActionsMax || bytes + moreBytes > bytesMost) {
      await site.table.transact(actions);
      [actions, bytes] = [[], 0];
    }
    actions.push(...more);
    bytes += moreBytes;
  });
  progress = { ...progress, end: end.kind };
  if (actions.length > 0) await site.table.transact(actions);
  await site.table.transact([sessionAction(claim, vpgId, progress)]);
  return progress;
}

function actionsOf(now: number, vpgId: Id, session: number, row: BatchRow, notes: Notes): readonly TableAction[] {
  const { sequence, time } = row.marker ?? { sequence: 0, time: now };
  return rowActions(vpgId, session, row, Math.min(time, now), notes.get(formatPosition({ session, sequence })) ?? []);
}
