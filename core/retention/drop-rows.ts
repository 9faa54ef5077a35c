import type { Id } from "#core/ids.ts";
import { checkStored } from "#core/json.ts";
import type { TableItem } from "#core/ports.ts";
import { placeSchema } from "#core/protection/batch-row.ts";
import { rowOfItem } from "#core/protection/checkpoint-row.ts";
import type { CheckpointScan } from "#core/protection/checkpoint-scan.ts";
import { items } from "#core/protection/items.ts";
import { sessionAction } from "#core/protection/session-store.ts";
import { concurrently } from "#core/recovery/concurrently.ts";
import type { Site } from "#core/site.ts";
import { retentionLimits as limits } from "./limits.ts";
import { packAt } from "./pack-at.ts";

/**
 * Deletes the items of batches that packs stand for, but for those of kept checkpoints. The session's progress is stored first: it
 * was counted from these items, and a new process must not have to count again.
 */
export async function dropRows(site: Site, vpgId: Id, { digest, sessions }: CheckpointScan): Promise<void> {
  for (const { state, progress } of sessions) {
    const { claim } = state;
    const last = digest?.packsOf(claim.session).at(-1);
    if (digest === undefined || last === undefined || progress.batches < last.to) continue;
    await site.table.transact([sessionAction(claim, vpgId, progress)]);
    const { pk, sk: from } = items.batch(vpgId, claim.session, 0);
    const to = items.batch(vpgId, claim.session, last.lastSequence + 1).sk;
    let cursor: string | undefined;
    do {
      const page = await site.table.query(pk, cursor === undefined ? { from, to } : { from, to, cursor });
      const going = page.items.filter((item) => goes(item));
      await concurrently(going, limits.deletesAtOnce, ({ sk }) => site.table.transact([{ delete: { pk, sk } }]));
      cursor = page.cursor;
    } while (cursor !== undefined);

    function goes(item: TableItem): boolean {
      const { batch } = checkStored(placeSchema, item.fields, "a batch's item");
      const packed = packAt(digest?.packsOf(claim.session) ?? [], batch) !== undefined;
      const row = rowOfItem(item);
      return (
        packed && (row === undefined || digest?.lists({ session: claim.session, sequence: row.sequence }) !== true)
      );
    }
  }
}
