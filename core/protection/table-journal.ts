import { Corrupt } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { BatchHeader } from "#core/journal/batch.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import { checkStored } from "#core/json.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import type { BatchRef, JournalSource } from "#core/recovery/journal-source.ts";
import { StoredBatches } from "#core/recovery/stored-batches.ts";
import type { Site } from "#core/site.ts";
import { type BatchRow, batchRowSchema } from "./batch-row.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import { type KnownSession, progressOfSessions } from "./session-list.ts";

/**
 * A VPG's journal at its own site: the table's rows say which batches touch a page, the bucket holds them. The index is
 * kept and grows by what came since; only unbroken runs are in it.
 */
export class TableJournal implements JournalSource {
  readonly #site: Site;
  readonly #vpgId: Id;
  readonly #stored: StoredBatches;
  /** `<volume>-<page>` to its batches, in order of position. */
  readonly #touched = new Map<string, BatchRef[]>();
  /** Session to the number of its batches that are indexed, and the last one's last sequence. */
  readonly #indexed = new Map<number, { readonly batches: number; readonly lastSequence: number }>();
  #growing: Promise<void> = Promise.resolve();

  constructor(site: Site, vpgId: Id) {
    this.#site = site;
    this.#vpgId = vpgId;
    this.#stored = new StoredBatches(site.objects, vpgId);
  }

  async batchesTouching(volume: number, page: number, upTo: Position): Promise<readonly BatchRef[]> {
    // One after the other: two that grow the index at the same time would enter a batch twice.
    this.#growing = this.#growing.then(
      () => this.#grow(),
      () => this.#grow(),
    );
    await this.#growing;
    const refs = this.#touched.get(`${volume}-${page}`) ?? [];
    return refs.filter((ref) => comparePositions({ session: ref.session, sequence: ref.firstSequence }, upTo) <= 0);
  }

  header(ref: BatchRef): Promise<BatchHeader> {
    return this.#stored.header(ref);
  }

  frame(ref: BatchRef, header: BatchHeader, index: number): Promise<Uint8Array> {
    return this.#stored.frame(ref, header, index);
  }

  async #grow(): Promise<void> {
    for (const known of await progressOfSessions(this.#site, this.#vpgId)) await this.#growSession(known);
  }

  async #growSession({ state, progress }: KnownSession): Promise<void> {
    const { session } = state.claim;
    const { pk } = items.batch(this.#vpgId, session, 0);
    const to = items.batch(this.#vpgId, session, progress.lastSequence + 1).sk;
    let { batches: next, lastSequence } = this.#indexed.get(session) ?? { batches: 0, lastSequence: 0 };
    while (next < progress.batches) {
      const from = items.batch(this.#vpgId, session, lastSequence + 1).sk;
      const page = await this.#site.table.query(pk, { from, to, limit: limits.rowsPerRead });
      for (const item of page.items) {
        const row = checkStored(batchRowSchema, item.fields, "a batch's item");
        lastSequence = row.lastSequence;
        // Behind the run's end, though its sequence is not: void.
        if (row.batch >= progress.batches) continue;
        if (row.batch !== next) throw new Corrupt(`the table lacks batch ${next} of session ${session}`, { session });
        this.#enter(session, row);
        next += 1;
        this.#indexed.set(session, { batches: next, lastSequence });
      }
      if (page.items.length === 0)
        throw new Corrupt(`the table lacks batch ${next} of session ${session}`, { session });
    }
  }

  #enter(session: number, row: BatchRow): void {
    const { term, batch, firstSequence, lastSequence, bytes } = row;
    const ref: BatchRef = { term, session, batch, firstSequence, lastSequence, size: bytes };
    for (const [volume, pages] of row.touched) {
      for (const page of pages) {
        const name = `${volume}-${page}`;
        const refs = this.#touched.get(name);
        if (refs === undefined) this.#touched.set(name, [ref]);
        else refs.push(ref);
      }
    }
  }
}

const readers = new WeakMap<Site, Map<Id, JournalReader>>();

/** The VPG's reader in this process, with its caches; the few used last are kept. */
export function journalReader(site: Site, vpgId: Id): JournalReader {
  const known = readers.get(site) ?? new Map<Id, JournalReader>();
  readers.set(site, known);
  const cacheBytes = limits.journalReaderCacheBytes;
  const reader =
    known.get(vpgId) ??
    new JournalReader(new TableJournal(site, vpgId), { headerCacheBytes: cacheBytes, frameCacheBytes: cacheBytes });
  known.delete(vpgId);
  known.set(vpgId, reader);
  const oldest = known.keys().next();
  if (known.size > limits.journalReadersMax && !oldest.done) known.delete(oldest.value);
  return reader;
}
