import type { Id } from "#core/ids.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { LostTails } from "#core/protection/lost-tails.ts";
import { termsOf } from "#core/protection/terms.ts";
import type { Site } from "#core/site.ts";

/**
 * Ids, source times and tags of every listed checkpoint, newest first: what must be the same however it is found out. Of the history,
 * or of the lost tail of an operation.
 */
export async function listed(site: Site, vpgId: Id, lostTail?: Id): Promise<readonly string[]> {
  const lines: string[] = [];
  const filter = lostTail === undefined ? { limit: 7 } : { limit: 7, lostTail };
  let cursor: string | undefined;
  do {
    const page = await listCheckpoints(site, vpgId, cursor === undefined ? filter : { ...filter, cursor });
    for (const { id, time, tags } of page.checkpoints) lines.push(`${id} ${time} ${tags.join(",")}`);
    cursor = page.cursor;
    if (cursor === undefined && page.total !== lines.length)
      throw new Error(`total ${page.total}, listed ${lines.length}`);
  } while (cursor !== undefined);
  return lines;
}

/** The same from the bucket alone; notes are the table's and the annotations', so only markers' own tags stand here. */
export async function listedOffline(site: Site, vpgId: Id, lostTail?: Id): Promise<readonly string[]> {
  const journal = await BucketJournal.open(site.objects, vpgId);
  if (journal.damage !== undefined) throw journal.damage;
  const gateways = new Map(journal.sessions.map(({ claim }) => [claim.session, claim.gatewayId]));
  const tails = new LostTails(site.siteId, await termsOf(site, vpgId), (session) => gateways.get(session));
  return journal
    .checkpoints()
    .filter((checkpoint) => tails.takes({ position: checkpoint, term: checkpoint.term }, lostTail))
    .map(({ id, time, tag }) => `${id} ${time} ${tag}`)
    .reverse();
}
