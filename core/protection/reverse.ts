import type { Id } from "#core/ids.ts";
import type { Link } from "./lineage.ts";
import { type ReverseRules, reverseRules } from "./reverse-rules.ts";
import type { Role } from "./term.ts";

/**
 * R16, both sites' side, without anything that does something: what a site knows (`Standing`) and what reached it give what it
 * writes, in order, and what it answers. A site that is killed between two writes comes to the same end when the message comes
 * again. test/model drives these very functions through everything that can happen.
 *
 * B runs the VPG in a term without a journal and is that term's keyholder:
 *   P1  B offers term n: B runs, A has the journal. The number is used up for ever.
 *   P2  A takes it if it follows from all that A knows: Retired.
 *   P3  Every gateway of A has closed its disks: Preparing. A's answer says so.
 *   P4  B claims term n, or a term n without a journal if it withdraws: one name in B's bucket, so never both.
 *       A hears of it, claims the term in its own bucket and takes sessions.
 *   P5  A lists the first checkpoint of term n: Journal, and only now the keyholder.
 */

/** B's offer of a term that has not begun, with the chain that it goes on from, ascending. */
export interface Offer<T extends Link = Link> {
  readonly term: T;
  readonly lineage: readonly T[];
  /** Nothing can be closed at the peer, for its gateway is gone. */
  readonly gatewayLost: boolean;
}

/** What stands in a site's bucket of a VPG's authority, in any order. */
export interface Knowledge<T extends Link = Link> {
  readonly terms: readonly T[];
  /** Of this site and, taken by it, of its peers; the minter of the offered term says whose. */
  readonly offers: readonly Offer<T>[];
  /** Numbers that a peer took back. */
  readonly withdrawn: readonly number[];
}

/** What only the table knows. It may be older than the bucket and is never newer. */
export interface Remembered {
  /** The offer whose gateways have all closed; 0 for none. */
  readonly closed: number;
  /** The newest term that has a checkpoint listed here; 0 for none. */
  readonly listed: number;
  /** An operation or a test of the VPG is open. */
  readonly busy: boolean;
}

/** Where a site stands. */
export interface Standing<T extends Link = Link> extends Remembered {
  readonly siteId: Id;
  readonly role: Role;
  readonly terms: readonly T[];
  readonly highest: T | undefined;
  /** A peer's offer that was taken and whose term has not begun as far as this site knows. */
  readonly pending: Offer<T> | undefined;
  /** This site's own offer, neither started nor withdrawn. */
  readonly offered: Offer<T> | undefined;
  /** The highest number that was ever offered, minted or withdrawn. */
  readonly burnt: number;
}

/** One durable change; what stands already is left as it is. */
export type Write<T extends Link = Link> =
  | { readonly put: "offer"; readonly offer: Offer<T> }
  | { readonly put: "term"; readonly term: T }
  | { readonly put: "withdrawn"; readonly n: number }
  | { readonly put: "closed"; readonly n: number };

export type Refusal = "number-used" | "not-descended" | "keyholder" | "busy";

/** What a site says of an offer. */
export type OfferState =
  /** Its gateways are closing their disks. */
  | "closing"
  /** All are closed; the term may begin. */
  | "closed"
  /** The term has begun, its journal is being made. */
  | "preparing"
  /** The journal has a checkpoint: this site is the keyholder. */
  | "journal"
  | "withdrawn"
  /** A later term is known here. */
  | "superseded"
  /** Nothing is known of it: offer it again. */
  | "unknown"
  | "refused";

export interface Answer {
  readonly state: OfferState;
  readonly refusal: Refusal | null;
}

export type Message<T extends Link = Link> =
  | { readonly kind: "offer"; readonly from: string; readonly offer: Offer<T> }
  /** P4 at the peer. */
  | { readonly kind: "started"; readonly from: string; readonly n: number }
  | { readonly kind: "withdrawn"; readonly from: string; readonly n: number }
  /** From this site's own gateways. */
  | { readonly kind: "gateways-closed"; readonly n: number };

export interface Reaction<T extends Link = Link> {
  readonly writes: readonly Write<T>[];
  readonly answer: Answer;
}

const highestOf = (numbers: readonly number[]): number => Math.max(0, ...numbers);

/** Where a site stands by its bucket, with what its table remembers. The bucket decides; an old table only forgets. */
export function standingOf<T extends Link>(
  siteId: Id,
  { terms: unsorted, offers, withdrawn }: Knowledge<T>,
  remembered: Remembered,
  rules: ReverseRules = reverseRules,
): Standing<T> {
  const terms = [...unsorted].sort((left, right) => left.n - right.n);
  const highest = terms.at(-1);
  const newest = (own: boolean): Offer<T> | undefined =>
    [...offers]
      .sort((left, right) => left.term.n - right.term.n)
      .filter(({ term }) => (term.minter === siteId) === own)
      .findLast(({ term }) => term.n > (highest?.n ?? 0));
  const taken = newest(false);
  const pending = taken !== undefined && !withdrawn.includes(taken.term.n) ? taken : undefined;
  const burnt = highestOf([...terms.map(({ n }) => n), ...offers.map(({ term }) => term.n), ...withdrawn]);
  const known = { ...remembered, siteId, terms, highest, pending, offered: newest(true), burnt };
  const role = roleOf(known, taken !== undefined, rules);
  return { ...known, role };
}

function roleOf(standing: Omit<Standing<Link>, "role">, taken: boolean, rules: ReverseRules): Role {
  const { siteId, highest } = standing;
  if (taken) return rules.allClosed({ ...standing, role: "Retired" }) ? "Preparing" : "Retired";
  if (highest?.journal === siteId) {
    return rules.hasCheckpoint({ ...standing, role: "Preparing" }) ? "Journal" : "Preparing";
  }
  return highest?.runs === siteId ? "Runs" : "Dark";
}

const says = (state: OfferState, refusal: Refusal | null = null): Answer => ({ state, refusal });
const nothing = (answer: Answer): Reaction<never> => ({ writes: [], answer });

/** What a site does about a message, and what it says. */
export function receive<T extends Link>(
  standing: Standing<T>,
  message: Message<T>,
  rules: ReverseRules = reverseRules,
): Reaction<T> {
  switch (message.kind) {
    case "offer":
      return receiveOffer(standing, message.offer, message.from, rules);
    case "started":
      return receiveStarted(standing, message.n, message.from, rules);
    case "withdrawn":
      return receiveWithdrawn(standing, message.n, message.from);
    case "gateways-closed":
      return standing.pending?.term.n === message.n
        ? { writes: [{ put: "closed", n: message.n }], answer: says("closed") }
        : nothing(stateOf(standing, message.n, rules));
  }
}

/** P2. A taken offer goes on to stand until it is withdrawn, its term begins or a later offer is taken. */
function receiveOffer<T extends Link>(
  standing: Standing<T>,
  offer: Offer<T>,
  from: string,
  rules: ReverseRules,
): Reaction<T> {
  const { n, minter } = offer.term;
  const { pending, highest } = standing;
  if (pending?.term.n === n && pending.term.minter === minter) {
    // Killed after the offer's object and before the last of the chain's.
    return { writes: chainWrites(standing, offer), answer: stateOf(standing, n, rules) };
  }
  if (highest?.n === n && highest.minter === minter) return nothing(stateOf(standing, n, rules));
  const refusal = refusalOf(standing, offer, from, rules);
  if (refusal !== null) return nothing(says("refused", refusal));
  const state = offer.gatewayLost ? "closed" : "closing";
  return { writes: [{ put: "offer", offer }, ...chainWrites(standing, offer)], answer: says(state) };
}

function refusalOf(standing: Standing<Link>, offer: Offer<Link>, from: string, rules: ReverseRules): Refusal | null {
  if (!rules.isNew(standing, offer.term.n)) return "number-used";
  if (!rules.mayYield(standing)) return "keyholder";
  if (!rules.descends(standing, offer, from)) return "not-descended";
  return rules.isIdle(standing) ? null : "busy";
}

const chainWrites = <T extends Link>({ terms }: Standing<T>, { lineage }: Offer<T>): readonly Write<T>[] =>
  lineage.filter(({ n }) => !terms.some((own) => own.n === n)).map((term) => ({ put: "term", term }));

/** P4 as A hears of it: the term stands in A's bucket too from now on, and nothing takes it back. */
function receiveStarted<T extends Link>(
  standing: Standing<T>,
  n: number,
  from: string,
  rules: ReverseRules,
): Reaction<T> {
  const { pending } = standing;
  const closed = pending?.term.n === n && pending.term.minter === from && rules.allClosed(standing);
  if (!closed || pending === undefined) return nothing(stateOf(standing, n, rules));
  const writes = [...chainWrites(standing, pending), { put: "term" as const, term: pending.term }];
  return { writes, answer: says("preparing") };
}

/** Also of a number that never came here: then its offer is on the way and must not be taken any more. */
function receiveWithdrawn<T extends Link>(standing: Standing<T>, n: number, from: string): Reaction<T> {
  const { pending, burnt } = standing;
  const current = pending?.term.n === n && pending.term.minter === from;
  if (!current && n <= burnt) return nothing(stateOf(standing, n, reverseRules));
  return { writes: [{ put: "withdrawn", n }], answer: says("withdrawn") };
}

/** What a site says of an offer as it stands. */
export function stateOf(standing: Standing<Link>, n: number, rules: ReverseRules = reverseRules): Answer {
  const { pending, highest, siteId, burnt } = standing;
  if (pending?.term.n === n) return says(rules.allClosed(standing) ? "closed" : "closing");
  if (highest?.n === n && highest.journal === siteId) {
    return says(standing.role === "Journal" ? "journal" : "preparing");
  }
  if ((highest?.n ?? 0) > n) return says("superseded");
  return says(n <= burnt ? "withdrawn" : "unknown");
}

/** P1: B's next offer to the peer. Undefined when B isn't the keyholder of a term that it runs without a journal. */
export function nextOffer(standing: Standing<Link>, peer: Id, rules: ReverseRules = reverseRules): Link | undefined {
  const { siteId, role, highest, burnt } = standing;
  if (role !== "Runs" || highest === undefined || !rules.holdsKey(standing)) return undefined;
  return { n: burnt + 1, minter: siteId, runs: siteId, journal: peer, parent: highest.n };
}

/** The term that has begun for the peer, which a site goes on with when its operation was lost. */
export function begunBy<T extends Link>({ siteId, highest, role }: Standing<T>, peer: Id): T | undefined {
  return role === "Runs" && highest?.runs === siteId && highest.journal === peer ? highest : undefined;
}

/** P4: the term that B claims on A's answer; undefined when the answer isn't one to its offer as it stands. */
export function startedBy<T extends Link>(
  standing: Standing<T>,
  n: number,
  { state }: Pick<Answer, "state">,
  rules: ReverseRules = reverseRules,
): T | undefined {
  const agreed = state === "closed" && rules.answersOffer(standing, n);
  return agreed ? standing.offered?.term : undefined;
}

/** What B claims under the offered number in place of the term: it goes on alone. Who creates the name first decides. */
export function withdrawalOf(standing: Standing<Link>): Link | undefined {
  const { offered, siteId } = standing;
  return offered && { ...offered.term, runs: siteId, journal: null };
}

/** `--force`: the link by which the running site ends a term whose journal was lost before it came to be. */
export function forcedBy(
  standing: Standing<Link>,
  peerIsLost: boolean,
  rules: ReverseRules = reverseRules,
): Link | undefined {
  const { siteId, highest, burnt } = standing;
  if (highest === undefined || !rules.mayForce(standing, peerIsLost)) return undefined;
  return { n: burnt + 1, minter: siteId, runs: siteId, journal: null, parent: highest.n };
}
