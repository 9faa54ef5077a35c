import { Corrupt } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { offerPrefix, parseOfferKey } from "#core/journal/keys.ts";
import { listAll } from "#core/list-all.ts";
import type { Site } from "#core/site.ts";

/** The highest number of a peer's offer that was taken here or taken back, by names alone; 0 for none. */
export async function highestTaken({ objects, siteId }: Pick<Site, "objects" | "siteId">, vpgId: Id): Promise<number> {
  let highest = 0;
  for await (const { key } of listAll(objects, offerPrefix(vpgId))) {
    const parsed = parseOfferKey(key);
    if (parsed === undefined) throw new Corrupt(`${key} is not the name of an offer`, { key });
    if (parsed.minterSiteId !== siteId && !parsed.withdrawn) highest = Math.max(highest, parsed.term);
  }
  return highest;
}
