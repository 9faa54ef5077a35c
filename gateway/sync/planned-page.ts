import { InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { sha256 } from "#core/journal/hash.ts";
import type { Position } from "#core/journal/position.ts";
import { decodePageWants, encodePageHashes } from "#core/sync/page-object.ts";

/** Which page of which sync: what hashes and wants name, so that neither is taken for another's. */
export interface PagePlace {
  readonly vpgId: Id;
  readonly operationId: Id;
  readonly term: number;
  readonly session: number;
  /** The journal's number. */
  readonly volume: number;
  readonly page: number;
}

/** What the engine found of a page that it read for a plan. */
export interface HashedPage {
  readonly sizeBytes: number;
  readonly upTo: Position;
  /** Of the track, from before the first chunk was read. */
  readonly revision: number;
  /** Numbers inside the page, ascending, each with 32 bytes of `hashes`. */
  readonly chunks: readonly number[];
  readonly hashes: Uint8Array;
}

/** A page whose hashes are on their way to the site, or there. */
export class PlannedPage {
  readonly place: PagePlace;
  readonly revision: number;
  readonly chunks: readonly number[];
  /** What the site is sent. */
  readonly object: Uint8Array;

  constructor(place: PagePlace, { sizeBytes, upTo, revision, chunks, hashes }: HashedPage) {
    this.place = place;
    this.revision = revision;
    this.chunks = chunks;
    this.object = encodePageHashes({ ...place, sizeBytes, upTo: { ...upTo }, chunks, hashes });
  }
}

/** What is kept of a page until its want-list comes. */
export interface AwaitedPage {
  readonly place: PagePlace;
  readonly revision: number;
  readonly chunks: readonly number[];
  readonly hashesSha256: string;
}

/** The page without its hashes: 16,384 of them are a volume of 16 TiB. */
export function awaited({ place, revision, chunks, object }: PlannedPage): AwaitedPage {
  return { place, revision, chunks, hashesSha256: Buffer.from(sha256(object)).toString("hex") };
}

/**
 * The chunks of the page that need not be shipped, by a want-list that came over the wire. Throws `InvalidInput` for one of
 * another page, session, term or operation, of other hashes, or that wants what was never offered.
 */
export function notWanted(page: AwaitedPage, object: Uint8Array): readonly number[] {
  const { chunks, hashesSha256, ...place } = decodePageWants(object);
  const { vpgId, operationId, term, session, volume } = page.place;
  const own =
    place.vpgId === vpgId &&
    place.operationId === operationId &&
    place.term === term &&
    place.session === session &&
    place.volume === volume &&
    place.page === page.place.page;
  if (!own || hashesSha256 !== page.hashesSha256) {
    throw new InvalidInput(`a want-list of other hashes than those of page ${page.place.page} of volume ${volume}`);
  }
  const offered = new Set(page.chunks);
  if (!chunks.every((chunk) => offered.has(chunk))) {
    throw new InvalidInput(`a want-list wants what page ${page.place.page} of volume ${volume} has not offered`);
  }
  const wanted = new Set(chunks);
  return page.chunks.filter((chunk) => !wanted.has(chunk));
}
