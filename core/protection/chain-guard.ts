import type { BatchRow } from "./batch-row.ts";
import type { SessionProgress } from "./session-progress.ts";

/** What a batch says of itself and of the one before it. */
export type Link = Pick<BatchRow, "batch" | "firstSequence" | "lastSequence" | "sha256" | "previous">;

/**
 * The links of a session's batches behind its unbroken run, as this process knows them: a batch that doesn't fit those
 * beside it is refused before it is stored, whatever the order in which they come. Readers check the chain again.
 */
export class ChainGuard {
  readonly #links = new Map<number, Link>();

  /** Notes the link, or says what is wrong with it. A number that is noted already is the object's creation to decide. */
  enter(link: Link, progress: SessionProgress): string | undefined {
    for (const batch of this.#links.keys()) if (batch < progress.batches - 1) this.#links.delete(batch);
    if (link.batch < progress.batches || this.#links.has(link.batch)) return undefined;
    const problem = this.#problem(link, progress);
    const { batch, firstSequence, lastSequence, sha256, previous } = link;
    if (problem === undefined) this.#links.set(batch, { batch, firstSequence, lastSequence, sha256, previous });
    return problem;
  }

  /** The batch wasn't stored after all. */
  forget(batch: number): void {
    this.#links.delete(batch);
  }

  #problem(link: Link, progress: SessionProgress): string | undefined {
    const { batch } = link;
    const before = batch === progress.batches ? endOf(progress) : this.#links.get(batch - 1);
    if (batch === progress.batches && progress.closed) return "comes after the close or final of its session";
    if (before !== undefined && link.previous !== before.sha256) return "doesn't name the hash of the batch before it";
    if (before !== undefined && link.firstSequence !== before.lastSequence + 1) {
      return `starts at sequence ${link.firstSequence}, not ${before.lastSequence + 1}`;
    }
    const after = this.#links.get(batch + 1);
    if (after !== undefined && after.previous !== link.sha256) return "isn't the one that the batch after it names";
    if (after !== undefined && after.firstSequence !== link.lastSequence + 1)
      return "doesn't reach up to the batch after it";
    return undefined;
  }
}

const endOf = ({ hash, lastSequence }: SessionProgress) => ({ sha256: hash, lastSequence });
