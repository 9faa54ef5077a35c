import { isChain, isMinted, isSameLink, type Link } from "./lineage.ts";
import type { Offer, Standing } from "./reverse.ts";

/**
 * The guards of reverse protection (R16), each by itself so that the model of test/model can take one away and find what it is
 * there for. All are questions about what this site knows; none looks at a clock.
 */
export const reverseRules = {
  /** No number is offered, accepted or minted twice: it is above every term, offer and withdrawal that this site knows. */
  isNew: ({ burnt }: Standing<Link>, n: number): boolean => n > burnt,

  /** An offer goes on from the very chain that this site knows, was minted by that chain's keyholder, and gives the journal to this site. */
  descends: ({ siteId, terms }: Standing<Link>, { term, lineage }: Offer<Link>, from: string): boolean => {
    const last = lineage.at(-1);
    if (last === undefined || !isChain(lineage) || !isMinted(last, term)) return false;
    if (term.minter !== from || term.runs !== from || term.journal !== siteId) return false;
    return terms.every((own) => lineage.some((link) => isSameLink(own, link)));
  },

  /** Who may mint the next term gives that up by minting alone, never because somebody offers something. */
  mayYield: (standing: Standing<Link>): boolean => !reverseRules.holdsKey(standing),

  /** Nothing of this site's own is half done. */
  isIdle: ({ busy }: Standing<Link>): boolean => !busy,

  /** P3: every gateway here has said that it takes no more writes, or there is none any more. */
  allClosed: ({ pending, closed }: Standing<Link>): boolean =>
    pending !== undefined && (closed === pending.term.n || pending.gatewayLost),

  /** An answer counts for the offer that it answers. */
  answersOffer: ({ offered }: Standing<Link>, n: number): boolean => offered?.term.n === n,

  /** P5: a checkpoint of this very term is listed here. The first term of a VPG needs none: its journal's site minted it itself. */
  hasCheckpoint: ({ siteId, highest, listed }: Standing<Link>): boolean =>
    highest !== undefined && (listed === highest.n || highest.minter === siteId),

  /** The only one that may mint the next term: whoever has the journal, once it has become one, or runs the VPG without any. */
  holdsKey: ({ role, highest, siteId }: Standing<Link>): boolean =>
    role === "Journal" || (role === "Runs" && highest?.runs === siteId && highest.journal === null),

  /** Sessions and batches are taken in the term that has its journal here, and in no other. */
  mayIngest: ({ role, highest, pending }: Standing<Link>, n: number): boolean =>
    pending === undefined && (role === "Preparing" || role === "Journal") && highest?.n === n,

  /** A gateway of this site may let guests write on disks of its own. */
  mayServe: ({ role }: Standing<Link>): boolean => role === "Dark" || role === "Runs",

  /** `--force`: only the person can know that the peer is lost for good. */
  mayForce: ({ role, highest, siteId }: Standing<Link>, peerIsLost: boolean): boolean =>
    peerIsLost && role === "Runs" && highest?.runs === siteId && highest.journal !== null,
} as const;

export type ReverseRules = typeof reverseRules;
