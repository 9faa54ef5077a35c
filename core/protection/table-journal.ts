import type { Id } from "#core/ids.ts";
import type { BatchHeader } from "#core/journal/batch.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import type { LayerSection } from "#core/journal/layer.ts";
import { isCovered, type Manifest } from "#core/journal/manifest.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import type { BatchRef, JournalSource } from "#core/recovery/journal-source.ts";
import { OptionalLayers } from "#core/recovery/optional-layers.ts";
import { StoredBatches } from "#core/recovery/stored-batches.ts";
import type { Site } from "#core/site.ts";
import type { BatchRow } from "./batch-row.ts";
import { protectionLimits as limits } from "./limits.ts";
import { currentManifest, latestManifest } from "./manifests.ts";
import { type RunPlace, rowsOfRun, runStart } from "./run-rows.ts";
import { assertReaches, type KnownSession, progressOfSessions } from "./session-list.ts";

/**
 * A VPG's journal at its own site: layers index its old batches, the table's rows say which newer ones touch a page, the bucket
 * holds them all. What is kept in memory of rows grows by what came since and shrinks by what layers took; only unbroken runs
 * are in it.
 */
export class TableJournal implements JournalSource {
  readonly #site: Site;
  readonly #vpgId: Id;
  readonly #stored: StoredBatches;
  /** `<volume>-<page>` to its batches, in order of position. */
  readonly #touched = new Map<string, BatchRef[]>();
  /** Session to how much of it is indexed. */
  readonly #indexed = new Map<number, RunPlace>();
  #growing: Promise<void> = Promise.resolve();
  readonly #layers: OptionalLayers;
  /** Only ever replaced by a later one: what `#touched` left out for one is in the layers of all that follow. */
  #manifest: Manifest | undefined;
  /** Once layers are given up and packs stand for batches: they are found by the bucket alone. */
  #bucket: BucketJournal | undefined;

  constructor(site: Site, vpgId: Id) {
    this.#site = site;
    this.#vpgId = vpgId;
    this.#stored = new StoredBatches(site.objects, vpgId);
    this.#layers = new OptionalLayers({
      ...{ objects: site.objects, vpgId, log: site.log },
      current: async () => this.#manifest,
      reload: async () => {
        await this.#advance();
        return this.#manifest;
      },
    });
  }

  async batchesTouching(volume: number, page: number, upTo: Position): Promise<readonly BatchRef[]> {
    await this.#layers.orWithout(() => {
      // One after the other: two that grow the index at the same time would enter a batch twice.
      this.#growing = this.#growing.then(
        () => this.#grow(upTo),
        () => this.#grow(upTo),
      );
      return this.#growing;
    });
    if (this.#bucket !== undefined) return this.#bucket.batchesTouching(volume, page, upTo);
    const name = `${volume}-${page}`;
    const refs = (this.#touched.get(name) ?? []).filter((ref) => !isCovered(this.#manifest, ref));
    if (refs.length > 0) this.#touched.set(name, refs);
    else this.#touched.delete(name);
    return refs.filter((ref) => comparePositions({ session: ref.session, sequence: ref.firstSequence }, upTo) <= 0);
  }

  get batchesAlone(): boolean {
    return this.#layers.givenUp;
  }

  get generation(): string {
    return this.#bucket?.generation ?? this.#manifest?.digest?.digestId ?? "";
  }

  async refresh(): Promise<void> {
    if (this.#bucket !== undefined) return this.#bucket.refresh();
    const newest = await latestManifest(this.#site, this.#vpgId, this.#manifest);
    if (!this.#layers.givenUp && (newest?.manifest ?? 0) > (this.#manifest?.manifest ?? 0)) this.#manifest = newest;
  }

  layerSections(volume: number, chunk: number): Promise<readonly LayerSection[]> {
    return this.#layers.sections(volume, chunk);
  }

  layersTouch(volume: number, firstChunk: number, lastChunk: number): Promise<boolean> {
    return this.#layers.touch(volume, firstChunk, lastChunk);
  }

  header(ref: BatchRef): Promise<BatchHeader> {
    return this.#stored.header(ref);
  }

  frame(ref: BatchRef, header: BatchHeader, index: number): Promise<Uint8Array> {
    return this.#stored.frame(ref, header, index);
  }

  /** At least up to a position. Throws `TableBehindBucket`. */
  async #grow(upTo: Position): Promise<void> {
    if (!this.#layers.givenUp) await this.#advance();
    else if (this.#manifest?.digest !== undefined || this.#bucket !== undefined) {
      this.#bucket ??= await BucketJournal.open(this.#site.objects, this.#vpgId);
      if (this.#bucket.damage !== undefined) throw this.#bucket.damage;
      return;
    } else if (this.#manifest !== undefined) {
      // What was left out for layers is to be read after all.
      this.#manifest = undefined;
      this.#touched.clear();
      this.#indexed.clear();
    }
    const sessions = await progressOfSessions(this.#site, this.#vpgId);
    assertReaches(sessions, this.#manifest, this.#vpgId, upTo);
    for (const known of sessions) await this.#growSession(known);
  }

  async #advance(): Promise<void> {
    const newest = await currentManifest(this.#site, this.#vpgId, this.#manifest);
    // Of two that asked at the same time the older answer may come last; or after layers were given up.
    if (!this.#layers.givenUp && (newest?.manifest ?? 0) > (this.#manifest?.manifest ?? 0)) this.#manifest = newest;
  }

  async #growSession(known: KnownSession): Promise<void> {
    const { session } = known.state.claim;
    const indexed = this.#indexed.get(session) ?? runStart;
    const covered = this.#manifest?.covered.get(session) ?? runStart;
    const from = indexed.batches > covered.batches ? indexed : covered;
    for await (const row of rowsOfRun(this.#site, this.#vpgId, known, from)) {
      this.#enter(session, row);
      this.#indexed.set(session, { batches: row.batch + 1, lastSequence: row.lastSequence });
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
