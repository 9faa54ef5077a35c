import type { Id } from "#core/ids.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import type { Site } from "#core/site.ts";

/** Ids, source times and tags of every listed checkpoint, newest first: what must be the same however it is found out. */
export async function listed(site: Site, vpgId: Id): Promise<readonly string[]> {
  const lines: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await listCheckpoints(site, vpgId, cursor === undefined ? { limit: 7 } : { limit: 7, cursor });
    for (const { id, time, tags } of page.checkpoints) lines.push(`${id} ${time} ${tags.join(",")}`);
    cursor = page.cursor;
    if (cursor === undefined && page.total !== lines.length)
      throw new Error(`total ${page.total}, listed ${lines.length}`);
  } while (cursor !== undefined);
  return lines;
}

/** The same from the bucket alone; notes are the table's and the annotations', so only markers' own tags stand here. */
export async function listedOffline(site: Site, vpgId: Id): Promise<readonly string[]> {
  const journal = await BucketJournal.open(site.objects, vpgId);
  if (journal.damage !== undefined) throw journal.damage;
  return journal
    .checkpoints()
    .map(({ id, time, tag }) => `${id} ${time} ${tag}`)
    .reverse();
}
