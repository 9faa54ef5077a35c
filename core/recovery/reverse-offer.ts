import { isRetryable, OfferRefused, PeerHasNoJournal } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { checkStored } from "#core/json.ts";
import type { PeerRequest } from "#core/ports.ts";
import { type Authority, claimTerm, putOffer, readAuthority, storedOffer } from "#core/protection/authority.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { Link } from "#core/protection/lineage.ts";
import { type OfferReply, offerReplySchema, type StoredOffer } from "#core/protection/offer.ts";
import type { Peer } from "#core/protection/peer.ts";
import { reverseProblem } from "#core/protection/peer.ts";
import { findPeer } from "#core/protection/peers.ts";
import { nextOffer, withdrawalOf } from "#core/protection/reverse.ts";
import type { Term } from "#core/protection/term.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import type { Site } from "#core/site.ts";
import type { OperationRecord } from "./operation-store.ts";

/** A site that may journal the VPG. */
export interface JournalPeer extends Peer {
  readonly siteId: Id;
}

/** The peer that a VPG was protected at. Throws `PeerHasNoJournal`. */
export async function journalPeer(site: Site, { definition }: Pick<VpgRecord, "definition">): Promise<JournalPeer> {
  const { protectedSite } = definition;
  const peer = await findPeer(site, protectedSite);
  const problem = reverseProblem(protectedSite, peer);
  if (problem !== undefined) throw problem;
  if (peer === undefined || peer.siteId === null) throw new PeerHasNoJournal(`no site is known as ${protectedSite}`);
  return { ...peer, siteId: peer.siteId };
}

/** What the peer says; what got no answer is undefined, for it may be away as long as it likes. Throws what it refuses by name. */
export async function askPeer(site: Site, peer: JournalPeer, request: PeerRequest): Promise<OfferReply | undefined> {
  try {
    const { name, url, region } = peer;
    return checkStored(offerReplySchema, await site.peers.ask({ name, url, region }, request), `the reply of ${name}`);
  } catch (error) {
    if (!isRetryable(error)) throw error;
    site.log.info("peer-silent", { peer: peer.name, error });
    return undefined;
  }
}

const pathOf = (vpgId: Id): string => `/v1/vpgs/${vpgId}/reverse-offer`;

export const offerRequest = (offer: StoredOffer): PeerRequest => ({
  method: "PUT",
  path: pathOf(offer.vpgId),
  body: offer,
});

export const startedRequest = (vpgId: Id, n: number): PeerRequest => ({
  ...{ method: "POST", path: `${pathOf(vpgId)}/started`, body: { n } },
});

export const withdrawRequest = (vpgId: Id, n: number): PeerRequest => ({
  method: "DELETE",
  path: `${pathOf(vpgId)}?n=${n}`,
});

/** This operation's offer: as it stands, or made now. Offers of operations that were lost are taken back first. */
export async function ensureOffer(
  site: Site,
  vpg: VpgRecord,
  operation: OperationRecord,
  peer: JournalPeer,
): Promise<StoredOffer> {
  const authority = await readAuthority(site, vpg.vpgId, vpg);
  const own = ownOffer(authority);
  if (own?.operationId === operation.operationId) return own;
  if (own !== undefined) {
    // In the other's name: a term of this operation's own would say that it began, and could not be rolled back.
    await withdraw(site, vpg, authority, own.operationId);
    return ensureOffer(site, vpg, operation, peer);
  }
  const { standing } = authority;
  if (standing.terms.length > limits.lineageMax) {
    throw new OfferRefused(`${vpg.definition.name} has more than ${limits.lineageMax} terms`);
  }
  const link = nextOffer({ ...standing, busy: false }, peer.siteId);
  if (link === undefined) {
    throw new OfferRefused(
      `${vpg.definition.name} is not this site's to offer: its role here is ${standing.role}, its term ${standing.highest?.n ?? 0}`,
    );
  }
  return putOffer(site, {
    ...{ formatVersion: 1, vpgId: vpg.vpgId, operationId: operation.operationId },
    term: termOf(site, vpg.vpgId, operation.operationId, link),
    ...{ lineage: [...standing.terms], definition: vpg.definition },
    ...{ gatewayLost: operation.reverse?.gatewayLost ?? false, initiatedBy: operation.initiatedBy },
  });
}

/** This site's offer that was neither started nor taken back. */
export function ownOffer(authority: Authority): StoredOffer | undefined {
  const { offered } = authority.standing;
  return offered && storedOffer(authority, offered.term.n, offered.term.minter);
}

export function termOf(site: Site, vpgId: Id, operationId: Id, { n, runs, journal, parent }: Link): Term {
  const mintedAt = site.clock.now();
  return { formatVersion: 1, vpgId, n, minter: site.siteId, runs, journal, parent, fork: [], mintedAt, operationId };
}

/**
 * Claims the offered number as a term without a journal, so that nothing can start it any more. Answers what stands there: the
 * offered term when that was claimed first, undefined when nothing was offered.
 */
export async function withdraw(
  site: Site,
  { vpgId }: VpgRecord,
  { standing }: Authority,
  operationId: Id,
): Promise<Term | undefined> {
  const link = withdrawalOf(standing);
  return link && claimTerm(site, termOf(site, vpgId, operationId, link));
}
