import type { Id } from "#core/ids.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import type { Site } from "#core/site.ts";
import type { ListedCheckpoint } from "./checkpoint-row.ts";
import { CheckpointScan, type CheckpointSummary } from "./checkpoint-scan.ts";
import { ordinalText } from "./items.ts";
import { type LostTails, lostTailsOf } from "./lost-tails.ts";

export interface BranchSummary extends Pick<CheckpointSummary, "total" | "oldest" | "newest"> {
  /** Of the history: checkpoints that commits left behind, in all lost tails together. */
  readonly inLostTails: number;
}

/** The checkpoints of the history, or of the lost tail of an operation. */
export class CheckpointBranch {
  readonly scan: CheckpointScan;
  readonly #tails: LostTails;
  readonly #lostTail: Id | undefined;

  private constructor(scan: CheckpointScan, tails: LostTails, lostTail: Id | undefined) {
    this.scan = scan;
    this.#tails = tails;
    this.#lostTail = lostTail;
  }

  static async open(site: Site, vpgId: Id, lostTail?: Id): Promise<CheckpointBranch> {
    const scan = await CheckpointScan.open(site, vpgId);
    return new CheckpointBranch(scan, await lostTailsOf(site, vpgId, scan.sessions), lostTail);
  }

  /** From the scan's own, and of what was committed once the lost tails: the history is not walked through. */
  async summary(): Promise<BranchSummary> {
    const whole = this.scan.summary();
    if (this.#lostTail !== undefined) return { ...(await summaryOf(this.newestFirst())), inLostTails: 0 };
    if (this.#tails.none) return { ...whole, inLostTails: 0 };
    let inLostTails = 0;
    for await (const _ of this.#lost()) inLostTails += 1;
    if (inLostTails === whole.total) return { total: 0, oldest: null, newest: null, inLostTails };
    const newest = await firstOf(this.newestFirst());
    // Retention may have let go of everything before a lost tail and nothing of that: then what is left is walked through.
    const oldest = whole.oldest && (await this.at(whole.oldest.position));
    const { total } = whole;
    if (newest === undefined || oldest === undefined) return { ...(await summaryOf(this.newestFirst())), inLostTails };
    return { total: total - inLostTails, oldest, newest, inLostTails };
  }

  async at(position: Position): Promise<ListedCheckpoint | undefined> {
    const found = await this.scan.at(position);
    return found !== undefined && this.#tails.takes(found, this.#lostTail) ? found : undefined;
  }

  async *newestFirst(before?: string): AsyncGenerator<ListedCheckpoint> {
    for await (const checkpoint of this.scan.newestFirst(before)) {
      if (this.#tails.takes(checkpoint, this.#lostTail)) yield checkpoint;
    }
  }

  /** What commits left behind: of each from the last session before its term down to where it left the journal. */
  async *#lost(): AsyncGenerator<ListedCheckpoint> {
    const seen = new Set<string>();
    for (const { term, from } of this.#tails.spans) {
      const next = this.scan.sessions.find(({ state }) => state.claim.term >= term)?.state.claim.session;
      for await (const checkpoint of this.scan.newestFirst(next === undefined ? undefined : ordinalText(next))) {
        if (comparePositions(checkpoint.position, from) <= 0) break;
        if (seen.has(checkpoint.id) || this.#tails.ownerOf(checkpoint) === undefined) continue;
        seen.add(checkpoint.id);
        yield checkpoint;
      }
    }
  }
}

async function firstOf<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item;
  return undefined;
}

async function summaryOf(
  newestFirst: AsyncIterable<ListedCheckpoint>,
): Promise<Pick<BranchSummary, "total" | "oldest" | "newest">> {
  let total = 0;
  let newest: ListedCheckpoint | null = null;
  let oldest: ListedCheckpoint | null = null;
  for await (const checkpoint of newestFirst) {
    total += 1;
    newest ??= checkpoint;
    oldest = checkpoint;
  }
  return { total, oldest, newest };
}
