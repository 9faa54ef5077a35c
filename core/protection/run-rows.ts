import { Corrupt } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { checkStored } from "#core/json.ts";
import type { Site } from "#core/site.ts";
import { type BatchRow, batchRowSchema } from "./batch-row.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import type { KnownSession } from "./session-list.ts";
import type { SessionProgress } from "./session-progress.ts";

/** How many batches of a session lie behind, and the last one's last sequence. */
export type RunPlace = Pick<SessionProgress, "batches" | "lastSequence">;

export const runStart: RunPlace = { batches: 0, lastSequence: 0 };

/** The rows of a session's unbroken run from a place on, in order. Throws `Corrupt` when the table lacks one. */
export async function* rowsOfRun(
  site: Pick<Site, "table">,
  vpgId: Id,
  { state, progress }: KnownSession,
  from: RunPlace,
): AsyncGenerator<BatchRow> {
  const { session } = state.claim;
  const { pk } = items.batch(vpgId, session, 0);
  const to = items.batch(vpgId, session, progress.lastSequence + 1).sk;
  let { batches: next, lastSequence } = from;
  while (next < progress.batches) {
    const begin = items.batch(vpgId, session, lastSequence + 1).sk;
    const page = await site.table.query(pk, { from: begin, to, limit: limits.rowsPerRead });
    for (const item of page.items) {
      const row = checkStored(batchRowSchema, item.fields, "a batch's item");
      lastSequence = row.lastSequence;
      // Behind the run's end, though its sequence is not: void.
      if (row.batch >= progress.batches) continue;
      if (row.batch !== next) throw lacks(session, next);
      next += 1;
      yield row;
    }
    if (page.items.length === 0) throw lacks(session, next);
  }
}

const lacks = (session: number, batch: number): Corrupt =>
  new Corrupt(`the table lacks batch ${batch} of session ${session}`, { session, batch });
