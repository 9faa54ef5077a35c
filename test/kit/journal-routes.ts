import type { BatchSummary } from "#core/api/gateway-api.ts";
import { pageOf } from "#core/blocks/geometry.ts";
import type { Id } from "#core/ids.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import type { ByteRange, Objects } from "#core/ports.ts";
import type { BatchPage, JournalRoutes } from "../../gateway/export/http-journal.ts";

/** A bucket's journal as a site's routes would give it: two batches a page, and with failures as told. */
export class BucketRoutes implements JournalRoutes {
  readonly calls: string[] = [];
  /** Thrown by the calls to come, one after the other. */
  readonly failures: Error[] = [];
  readonly #objects: Objects;

  constructor(objects: Objects) {
    this.#objects = objects;
  }

  async batches(vpgId: Id, upTo: Position, { cursor = "0" }: BatchPage) {
    this.#enter(`batches ${cursor}`);
    const all = await this.#summaries(vpgId, upTo);
    const from = Number(cursor);
    const batches = all.slice(from, from + 2);
    return from + 2 < all.length ? { batches, cursor: String(from + 2) } : { batches };
  }

  async object(_vpgId: Id, key: string, range?: ByteRange): Promise<Uint8Array> {
    this.#enter(`object ${key}`);
    return this.#objects.get(key, range);
  }

  async #summaries(vpgId: Id, upTo: Position): Promise<BatchSummary[]> {
    const journal = await BucketJournal.open(this.#objects, vpgId);
    const refs = journal.sessions.flatMap((session) => session.batches);
    const summaries: BatchSummary[] = [];
    for (const ref of refs) {
      if (comparePositions({ session: ref.session, sequence: ref.firstSequence }, upTo) > 0) continue;
      const { extents } = await journal.header(ref);
      const touched = new Map<number, Set<number>>();
      for (let index = 0; index < extents.count; index += 1) {
        const volume = extents.volume[index] ?? 0;
        const pages = touched.get(volume) ?? new Set();
        touched.set(volume, pages);
        const start = extents.offset[index] ?? 0;
        for (let page = pageOf(start); page <= pageOf(start + (extents.length[index] ?? 0) - 1); page += 1)
          pages.add(page);
      }
      const { term, session, batch, firstSequence, lastSequence, size } = ref;
      summaries.push({
        ...{ term, session, batch, firstSequence, lastSequence, bytes: size },
        touched: [...touched].map(([volume, pages]) => [volume, [...pages]]),
      });
    }
    return summaries;
  }

  #enter(call: string): void {
    this.calls.push(call);
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
  }
}
