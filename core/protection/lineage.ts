import type { Term } from "./term.ts";

/** What of a term makes up the chain of authority (R9). */
export type Link = Pick<Term, "n" | "minter" | "runs" | "journal" | "parent">;

/** The only site that may mint a term's successor: its journal site, or the one that runs it when it has no journal. */
export const keyholderOf = ({ journal, runs }: Link): string => journal ?? runs;

/**
 * A site that runs a term ends it alone: its journal was lost before it came to be (`--force`). Whoever did become the keyholder
 * of `parent` takes no such link.
 */
export const isForced = (parent: Link, child: Link): boolean =>
  parent.journal !== null &&
  child.minter === parent.runs &&
  child.runs === parent.runs &&
  child.journal === null &&
  child.parent === parent.n &&
  child.n > parent.n;

/** The child was minted by the parent's keyholder. */
export const isMinted = (parent: Link, child: Link): boolean =>
  child.minter === keyholderOf(parent) && child.parent === parent.n && child.n > parent.n;

/** Whether the terms, ascending, are one chain from a VPG's first on. */
export function isChain(terms: readonly Link[]): boolean {
  const [first] = terms;
  if (first === undefined || first.parent !== 0 || first.minter !== keyholderOf(first)) return false;
  return terms.every((term, index) => {
    const parent = terms[index - 1];
    return parent === undefined || isMinted(parent, term) || isForced(parent, term);
  });
}

export function isSameLink(left: Link, right: Link): boolean {
  return (
    left.n === right.n &&
    left.minter === right.minter &&
    left.runs === right.runs &&
    left.journal === right.journal &&
    left.parent === right.parent
  );
}
