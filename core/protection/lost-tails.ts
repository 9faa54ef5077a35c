import type { Id } from "#core/ids.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import type { Site } from "#core/site.ts";
import { items } from "./items.ts";
import type { KnownSession } from "./session-list.ts";
import type { Term } from "./term.ts";
import { chainOf, termsOf } from "./terms.ts";
import { recordOf } from "./vpg-record.ts";

/** Where a commit left the journal of this site. */
interface Fork {
  readonly term: number;
  readonly mintedAt: number;
  readonly operationId: Id;
  /** The recovered checkpoint's, one a source gateway. */
  readonly positions: readonly Position[];
}

/**
 * What commits left behind (0017): the checkpoints beyond the recovered one, of terms before the commit's. They stay readable as
 * a branch of their own and are no part of the history: no listing shows them and nothing chooses them unless it is asked for the
 * lost tail of the operation. A pure rule over the terms in the bucket; the offline reader uses it too.
 */
export class LostTails {
  readonly #forks: readonly Fork[];
  readonly #gatewayOf: (session: number) => string | undefined;

  /** Terms that another site minted, or that left another site's journal, say nothing of this one's positions. */
  constructor(siteId: string, terms: readonly Term[], gatewayOf: (session: number) => string | undefined) {
    const journalOf = new Map(terms.map(({ n, journal }) => [n, journal]));
    this.#forks = terms.flatMap(({ n, minter, parent, fork, operationId, mintedAt }) =>
      minter === siteId && journalOf.get(parent) === siteId && operationId !== null && fork.length > 0
        ? [{ term: n, mintedAt, operationId, positions: fork }]
        : [],
    );
    this.#gatewayOf = gatewayOf;
  }

  /** No commit left anything: every checkpoint is of the history. */
  get none(): boolean {
    return this.#forks.length === 0;
  }

  /** When a commit last left this site's journal; undefined when none did. */
  get forkedAt(): number | undefined {
    return this.#forks.at(-1)?.mintedAt;
  }

  /** Of each commit: what it left behind lies in terms before it, behind a position. */
  get spans(): readonly { readonly term: number; readonly from: Position }[] {
    return this.#forks.flatMap(({ term, positions }) => {
      const from = positions.toSorted(comparePositions)[0];
      return from === undefined ? [] : [{ term, from }];
    });
  }

  /** The operation whose commit left the checkpoint behind; undefined for one of the history. */
  ownerOf({ position, term }: { readonly position: Position; readonly term: number }): Id | undefined {
    const gateway = this.#gatewayOf(position.session);
    return this.#forks.find((fork) => {
      if (term >= fork.term) return false;
      const own = fork.positions.find(({ session }) => this.#gatewayOf(session) === gateway);
      const end = own ?? fork.positions.toSorted(comparePositions).at(-1);
      return end !== undefined && comparePositions(position, end) > 0;
    })?.operationId;
  }

  /** Whether a listing or a choice is about the checkpoint: of the history, or of the operation's lost tail. */
  takes(checkpoint: { readonly position: Position; readonly term: number }, lostTail: Id | undefined): boolean {
    return this.ownerOf(checkpoint) === lostTail;
  }
}

/** Those of a VPG at this site. Before the first commit nothing is read of the bucket. */
export async function lostTailsOf(site: Site, vpgId: Id, sessions: readonly KnownSession[]): Promise<LostTails> {
  const item = await site.table.get(items.vpg(vpgId));
  const terms = item === undefined || recordOf(item).term === 1 ? [] : await termsOf(site, vpgId);
  return tailsBy(site, terms, sessions);
}

/** The same by the bucket alone, for who lets go of checkpoints: a table may be behind it. Throws `Corrupt` as `chainOf` does. */
export async function lostTailsInBucket(site: Site, vpgId: Id, sessions: readonly KnownSession[]): Promise<LostTails> {
  return tailsBy(site, await chainOf(site, vpgId), sessions);
}

function tailsBy({ siteId }: Site, terms: readonly Term[], sessions: readonly KnownSession[]): LostTails {
  const gateways = new Map(sessions.map(({ state }) => [state.claim.session, state.claim.gatewayId]));
  return new LostTails(siteId, terms, (session) => gateways.get(session));
}
