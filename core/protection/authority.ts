import { Corrupt } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { offerKey, offerPrefix, parseOfferKey, termKey, withdrawnKey } from "#core/journal/keys.ts";
import { jsonBytes, parseStored } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { Site } from "#core/site.ts";
import { newestCheckpoint } from "./checkpoints.ts";
import { offerSchema, type StoredOffer } from "./offer.ts";
import { type Remembered, type Standing, standingOf, type Write } from "./reverse.ts";
import { readClaim } from "./session-store.ts";
import { type Term, termSchema } from "./term.ts";
import { termsOf } from "./terms.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** What a site's bucket says of the authority over a VPG, and where that leaves the site. */
export interface Authority {
  readonly standing: Standing<Term>;
  readonly offers: readonly StoredOffer[];
}

/** Where this site stands by its bucket, and by what its table remembers (`vpg`). */
export async function readAuthority(site: Site, vpgId: Id, vpg: VpgRecord | undefined): Promise<Authority> {
  const terms = await termsOf(site, vpgId);
  const highest = terms.at(-1);
  const listed = highest?.journal === site.siteId && vpg !== undefined ? await listedTerm(site, vpg) : 0;
  const busy = vpg !== undefined && (vpg.operationId !== null || vpg.forgotten.length > 0 || vpg.openTests.length > 0);
  const closed = vpg?.reverse?.closed === true ? vpg.reverse.n : 0;
  return authorityOf(site, vpgId, terms, { listed, busy, closed });
}

/** The same with the terms and what the table remembers already known, as a rebuild has them. */
export async function authorityOf(
  site: Pick<Site, "siteId" | "objects">,
  vpgId: Id,
  terms: readonly Term[],
  remembered: Remembered,
): Promise<Authority> {
  const { offers, withdrawn } = await readOffers(site, vpgId);
  return { standing: standingOf(site.siteId, { terms, offers, withdrawn }, remembered), offers };
}

interface Offers {
  readonly offers: readonly StoredOffer[];
  readonly withdrawn: readonly number[];
}

export async function readOffers({ objects }: Pick<Site, "objects">, vpgId: Id): Promise<Offers> {
  const offers: StoredOffer[] = [];
  const withdrawn: number[] = [];
  for await (const { key } of listAll(objects, offerPrefix(vpgId))) {
    const parsed = parseOfferKey(key);
    if (parsed === undefined) throw new Corrupt(`${key} is not the name of an offer`, { key });
    if (parsed.withdrawn) withdrawn.push(parsed.term);
    else offers.push(parseStored(offerSchema, await objects.get(key), key));
  }
  return { offers, withdrawn };
}

/** The newest term that has a checkpoint listed here; 0 for none. */
export async function listedTerm(site: Site, vpg: VpgRecord): Promise<number> {
  if (vpg.role === "Journal") return vpg.term;
  const newest = await newestCheckpoint(site, vpg.vpgId);
  const claim = newest && (await readClaim(site, vpg.vpgId, newest.position.session));
  return claim?.term ?? 0;
}

/** Makes the bucket's part of what the rules decided durable, in their order. What the table has of it is the caller's. */
export async function writeAll(
  site: Pick<Site, "objects" | "clock">,
  offer: Pick<StoredOffer, "vpgId"> & { readonly minter: Id },
  writes: readonly Write<Term>[],
  whole?: StoredOffer,
): Promise<void> {
  const { vpgId, minter } = offer;
  for (const change of writes) {
    switch (change.put) {
      case "offer":
        if (whole !== undefined) await putOffer(site, whole);
        break;
      case "term":
        await claimTerm(site, change.term);
        break;
      case "withdrawn": {
        const note = { formatVersion: 1, vpgId, n: change.n, minter, at: site.clock.now() };
        await site.objects.put(withdrawnKey(vpgId, change.n, minter), jsonBytes(note), { ifAbsent: true });
        break;
      }
      case "closed":
        break;
    }
  }
}

/** Creates the offer's object, or answers with the one that stands under its number. */
export async function putOffer({ objects }: Pick<Site, "objects">, offer: StoredOffer): Promise<StoredOffer> {
  const key = offerKey(offer.vpgId, offer.term.n, offer.term.minter);
  if ((await objects.put(key, jsonBytes(offer), { ifAbsent: true })) === "created") return offer;
  return parseStored(offerSchema, await objects.get(key), key);
}

/** Creates the term's object, or answers with what stands under its number: of two claims of one number the first counts. */
export async function claimTerm({ objects }: Pick<Site, "objects">, term: Term): Promise<Term> {
  const key = termKey(term.vpgId, term.n, term.minter);
  if ((await objects.put(key, jsonBytes(term), { ifAbsent: true })) === "created") return term;
  return parseStored(termSchema, await objects.get(key), key);
}

/** The offer that stands under the number of a pending one. */
export function storedOffer({ offers }: Authority, n: number, minter: string): StoredOffer | undefined {
  return offers.find(({ term }) => term.n === n && term.minter === idSchema.parse(minter));
}
