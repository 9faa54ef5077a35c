import { type Id, idSchema } from "#core/ids.ts";
import type { Link } from "#core/protection/lineage.ts";
import {
  type Answer,
  type Knowledge,
  type Message,
  type Offer,
  type Standing,
  standingOf,
  type Write,
} from "#core/protection/reverse.ts";
import type { ReverseRules } from "#core/protection/reverse-rules.ts";
import type { Role } from "#core/protection/term.ts";

/** Two sites and a stranger. "a" is where the VPG ran once, "b" where it was failed over to. */
export const siteIds = {
  a: idSchema.parse("0000000000000000000000000a"),
  b: idSchema.parse("0000000000000000000000000b"),
  stranger: idSchema.parse("0000000000000000000000000c"),
};
export type Name = "a" | "b";
export const names = ["a", "b"] as const;
export const otherOf = (name: Name): Name => (name === "a" ? "b" : "a");
export const idOf = (name: Name): Id => siteIds[name];

/** One gateway with the VPG's disks: what its state directory holds. */
export interface Gateway {
  /** Guests may write. */
  readonly open: boolean;
  /** Closed for the offer of this number; 0 for none. */
  readonly closed: number;
  /** The term that opened it last. */
  readonly term: number;
}

/** This site's reverse protection, as the table's operation says. */
export interface Own {
  readonly state: "none" | "offering" | "started";
  /** Of its offer; 0 until it is written. */
  readonly n: number;
}

/** What is only in the table, so that it is lost or comes back old. */
export interface TableOf {
  readonly role: Role;
  /** The highest number in the bucket when the table was written last. */
  readonly seen: number;
  readonly closed: number;
  readonly own: Own;
}

export interface SiteState {
  readonly bucket: Knowledge;
  /** The newest term with a checkpoint in this site's bucket, and whether its batches were of that very term. */
  readonly listed: number;
  readonly honest: boolean;
  readonly table: TableOf;
  readonly gateways: readonly Gateway[];
  /** The site is gone for good. */
  readonly lost: boolean;
}

/** What was ever sent is here for ever: it comes late, twice, in any order, or never. */
export type Sent =
  | { readonly to: Name; readonly message: Message }
  | { readonly to: Name; readonly answer: Answer["state"]; readonly n: number }
  | { readonly to: Name; readonly close: number; readonly gateway: number }
  /** Of the gateway at the other site, in term n, enough for a checkpoint. */
  | { readonly to: Name; readonly batches: number };

/** What may still go wrong by itself; each happens at most so often. */
export interface Budget {
  /** Offers that people take back. */
  readonly withdrawals: number;
  /** Tables that come back as they were at the start. */
  readonly restores: number;
  /** Gateways that come back without their state directory. */
  readonly replacements: number;
  readonly losses: number;
}

export interface World {
  readonly a: SiteState;
  readonly b: SiteState;
  readonly net: readonly string[];
  readonly budget: Budget;
}

export const firstTerm: Link = { n: 1, minter: siteIds.b, runs: "protected", journal: siteIds.b, parent: 0 };
export const failedOver: Link = { n: 2, minter: siteIds.b, runs: siteIds.b, journal: null, parent: 1 };

const nothingOwn: Own = { state: "none", n: 0 };

/** After the commit at b: it runs the VPG; a never heard of it, and its `gateways` gateways may still serve the old disks. */
export function worldAfterCommit(gateways: number, open: boolean, budget: Budget, net: readonly Sent[] = []): World {
  const old: Gateway = { open, closed: 0, term: 0 };
  return {
    a: {
      bucket: { terms: [], offers: [], withdrawn: [] },
      ...{ listed: 0, honest: true, lost: false },
      table: { role: "Dark", seen: 0, closed: 0, own: nothingOwn },
      gateways: Array.from({ length: gateways }, () => old),
    },
    b: {
      bucket: { terms: [firstTerm, failedOver], offers: [], withdrawn: [] },
      ...{ listed: 0, honest: true, lost: false },
      table: { role: "Runs", seen: 2, closed: 0, own: nothingOwn },
      gateways: [{ open: true, closed: 0, term: 2 }],
    },
    net: net.map((sent) => JSON.stringify(sent)),
    budget,
  };
}

/** Where the site stands by its bucket and its table, which may be older. */
export function standing(world: World, name: Name, rules: ReverseRules): Standing {
  const { bucket, listed, table } = world[name];
  const remembered = { closed: table.closed, listed, busy: table.own.state !== "none" };
  return standingOf(idOf(name), bucket, remembered, rules);
}

export const withSite = (world: World, name: Name, change: Partial<SiteState>): World => ({
  ...world,
  [name]: { ...world[name], ...change },
});

export const withTable = (world: World, name: Name, change: Partial<TableOf>): World =>
  withSite(world, name, { table: { ...world[name].table, ...change } });

const parsed = new Map<string, Sent>();

/** What a text of the network says. */
export function sentOf(text: string): Sent {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  const sent: Sent = JSON.parse(text);
  parsed.set(text, sent);
  return sent;
}

const texts = new WeakMap<object, string>();

function textOf(part: object): string {
  const text = texts.get(part) ?? JSON.stringify(part);
  texts.set(part, text);
  return text;
}

const numbers = new Map<string, number>();

function numberOf(text: string): number {
  const number = numbers.get(text) ?? numbers.size;
  numbers.set(text, number);
  return number;
}

/** The same for the same world, and short: most of a world is as it was a step ago. */
export const keyOf = ({ a, b, net, budget }: World): string =>
  [a, b, budget].map((part) => numberOf(textOf(part))).join(" ") + [...net].map(numberOf).join(",");

export function send(world: World, sent: Sent): World {
  const text = JSON.stringify(sent);
  return world.net.includes(text) ? world : { ...world, net: [...world.net, text].sort() };
}

/** Creation if absent, by name: of two that write the same number the first stays. */
export function write(world: World, name: Name, change: Write): World {
  const { bucket, table } = world[name];
  const put = (next: Partial<Knowledge>): World => withSite(world, name, { bucket: { ...bucket, ...next } });
  switch (change.put) {
    case "term":
      return bucket.terms.some(({ n, minter }) => n === change.term.n && minter === change.term.minter)
        ? world
        : put({ terms: [...bucket.terms, change.term].sort(byNumber) });
    case "offer":
      return bucket.offers.some(
        ({ term }) => term.n === change.offer.term.n && term.minter === change.offer.term.minter,
      )
        ? world
        : put({ offers: [...bucket.offers, change.offer].sort((left, right) => byNumber(left.term, right.term)) });
    case "withdrawn":
      return bucket.withdrawn.includes(change.n) ? world : put({ withdrawn: [...bucket.withdrawn, change.n].sort() });
    case "closed":
      return withTable(world, name, { closed: Math.max(table.closed, change.n) });
  }
}

const byNumber = (left: Link, right: Link): number => left.n - right.n || (left.minter < right.minter ? -1 : 1);

/** The table catches up with the bucket. */
export function record(world: World, name: Name, rules: ReverseRules, own?: Own): World {
  const { role, burnt } = standing(world, name, rules);
  return withTable(world, name, { role, seen: burnt, ...(own === undefined ? {} : { own }) });
}

/** R9: nothing is opened or started on a table that is behind its bucket. */
export const isCurrent = (world: World, name: Name, rules: ReverseRules): boolean =>
  world[name].table.seen >= standing(world, name, rules).burnt;

/** The newest term anywhere. */
export function newestTerm(world: World): Link {
  return [...world.a.bucket.terms, ...world.b.bucket.terms].reduce((newest, term) =>
    term.n > newest.n ? term : newest,
  );
}

export const strangersOffer = (to: Name, n: number): Sent => {
  const term: Link = { n, minter: siteIds.stranger, runs: siteIds.stranger, journal: idOf(to), parent: 2 };
  const offer: Offer = { term, lineage: [firstTerm, failedOver], gatewayLost: false };
  return { to, message: { kind: "offer", from: siteIds.stranger, offer } };
};
