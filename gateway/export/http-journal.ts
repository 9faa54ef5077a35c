/**
 * A VPG's journal as a site serves it over HTTP (core/api/gateway-api.ts): the source of the views that a gateway exports.
 * What stands at or before a position never changes, so everything is asked for once, and asked again while the site is away.
 */
import type { z } from "zod";
import type { BatchSummary, batchListSchema } from "#core/api/gateway-api.ts";
import { LimitExceeded } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { BatchHeader } from "#core/journal/batch.ts";
import type { LayerSection } from "#core/journal/layer.ts";
import { type Manifest, readManifest } from "#core/journal/manifest.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import type { ByteRange, Clock, Log, Objects, Random } from "#core/ports.ts";
import type { BatchRef, JournalSource } from "#core/recovery/journal-source.ts";
import { OptionalLayers } from "#core/recovery/optional-layers.ts";
import { StoredBatches } from "#core/recovery/stored-batches.ts";
import { retry } from "#core/retry.ts";
import { journalRetry, summariesMax } from "./limits.ts";

/** What it asks of a site; `SiteClient` has it. */
export interface JournalRoutes {
  /** One page of the batches at or before a position, without those that the layers of a manifest stand for. */
  batches(vpgId: Id, upTo: Position, page: BatchPage, signal?: AbortSignal): Promise<z.infer<typeof batchListSchema>>;
  /** A journal object of the VPG, or a range of it cut to its end. */
  object(vpgId: Id, key: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array>;
}

/** Which page of a listing of batches. */
export interface BatchPage {
  /** What the page before said of the next one. */
  readonly cursor?: string | undefined;
  /**
   * 0 asks for the newest, the pages that follow ask for the one that the first came with. When that came without (the journal
   * has no layers, or the site is older), they ask for none: what one page leaves out for layers, all must.
   */
  readonly manifest?: number | undefined;
  /** Id of the checkpoint that is read: once retention has let it go the site refuses with `NoCheckpoint`. */
  readonly checkpoint?: string | undefined;
}

/** The query of `GET …/batches`. */
export function batchQuery(upTo: Position, { cursor, manifest, checkpoint }: BatchPage): URLSearchParams {
  const query = new URLSearchParams({ session: String(upTo.session), sequence: String(upTo.sequence) });
  if (manifest !== undefined) query.set("manifest", String(manifest));
  if (cursor !== undefined) query.set("cursor", cursor);
  if (checkpoint !== undefined) query.set("checkpoint", checkpoint);
  return query;
}

export interface HttpJournalOptions {
  readonly routes: JournalRoutes;
  readonly vpgId: Id;
  /** The latest position that any view over this journal has. */
  readonly upTo: Position;
  /**
   * Id of the checkpoint that is read: once retention has let it go `NoCheckpoint` is thrown rather than another image shown. None is
   * given for an instant that is no checkpoint.
   */
  readonly checkpoint?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Pick<Log, "warn">;
  /** Aborted when nobody needs the journal any more: what waits for the site then ends. */
  readonly signal?: AbortSignal;
}

/** Before anything is written: a listing up to it is a page of one batch at most. */
const firstPosition: Position = { session: 1, sequence: 1 };

export class HttpJournal implements JournalSource {
  readonly #options: HttpJournalOptions;
  readonly #objects: Pick<Objects, "get">;
  readonly #stored: StoredBatches;
  readonly #layers: OptionalLayers;
  #generation = "";
  #index: { readonly alone: boolean; readonly loading: Promise<LoadedIndex> } | undefined;

  constructor(options: HttpJournalOptions) {
    this.#options = options;
    const { routes, vpgId, log, signal } = options;
    this.#objects = { get: (key, range) => this.#patiently(() => routes.object(vpgId, key, range, signal)) };
    this.#stored = new StoredBatches(this.#objects, vpgId);
    this.#layers = new OptionalLayers({
      ...{ objects: this.#objects, vpgId, log },
      current: async () => (await this.#loaded()).manifest,
      reload: (stale) => this.#reload(stale),
    });
  }

  /** The first call reads the summaries of all batches up to the position that are in no layer. */
  async batchesTouching(volume: number, page: number, upTo: Position): Promise<readonly BatchRef[]> {
    if (comparePositions(upTo, this.#options.upTo) > 0) {
      throw new TypeError("a view reaches beyond its journal's position");
    }
    return this.#layers.orWithout(async () => (await this.#loaded()).batches.touching(volume, page, upTo));
  }

  get batchesAlone(): boolean {
    return this.#layers.givenUp;
  }

  get generation(): string {
    return this.#generation;
  }

  /** One small request, and all summaries again when packs have taken the place of batches. */
  async refresh(): Promise<void> {
    if (this.#layers.givenUp) return;
    const { routes, vpgId, checkpoint, signal } = this.#options;
    const loaded = await this.#loaded();
    const newestOne = { manifest: 0, checkpoint };
    const page = await this.#patiently(() => routes.batches(vpgId, firstPosition, newestOne, signal));
    if (page.manifest === undefined || page.manifest <= (loaded.manifest?.manifest ?? 0)) return;
    const newest = await readManifest(this.#objects, vpgId, page.manifest);
    if (newest.digest?.digestId === loaded.manifest?.digest?.digestId) return;
    if ((await this.#loaded()) === loaded) this.#index = undefined;
    await this.#loaded();
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

  async #loaded(): Promise<LoadedIndex> {
    const alone = this.#layers.givenUp;
    if (this.#index?.alone !== alone) this.#index = { alone, loading: this.#load(alone) };
    const index = this.#index;
    try {
      return await index.loading;
    } catch (error) {
      // The next one asks again.
      if (this.#index === index) this.#index = undefined;
      throw error;
    }
  }

  /** The summaries again, and with them the newest manifest. */
  async #reload(stale: Manifest): Promise<Manifest | undefined> {
    if ((await this.#loaded()).manifest === stale) this.#index = undefined;
    return (await this.#loaded()).manifest;
  }

  /** `alone`: of all batches, without a manifest. */
  async #load(alone: boolean): Promise<LoadedIndex> {
    const { routes, vpgId, upTo, checkpoint, signal } = this.#options;
    const batches = new SummaryIndex();
    let next: BatchPage = { checkpoint, ...(alone ? {} : { manifest: 0 }) };
    for (;;) {
      const asked = next;
      const page = await this.#patiently(() => routes.batches(vpgId, upTo, asked, signal));
      for (const summary of page.batches) batches.add(summary);
      next = { cursor: page.cursor, manifest: page.manifest, checkpoint };
      if (page.cursor === undefined) break;
    }
    const manifest = next.manifest === undefined ? undefined : await readManifest(this.#objects, vpgId, next.manifest);
    this.#generation = manifest?.digest?.digestId ?? "";
    return { batches, manifest };
  }

  #patiently<T>(ask: () => Promise<T>): Promise<T> {
    const { clock, random, signal } = this.#options;
    return retry(clock, random, journalRetry, ask, signal);
  }
}

/** The manifest, and the batches that its layers don't stand for. */
interface LoadedIndex {
  readonly batches: SummaryIndex;
  readonly manifest: Manifest | undefined;
}

/** Which batches touch which page; about 50 bytes a batch and 4 bytes a page that it touches. */
class SummaryIndex {
  /** Six numbers a batch: term, session, batch, first and last sequence, size. */
  #numbers = new Float64Array(6 * 1024);
  #count = 0;
  /** Volume to page to batches, by their place in `#numbers`, in order of position. */
  readonly #touching = new Map<number, Map<number, PlaceList>>();

  add(summary: BatchSummary): void {
    if (this.#count === summariesMax) {
      throw new LimitExceeded(`a journal of more than ${summariesMax} batches can't be exported`, { summariesMax });
    }
    const at = this.#count * 6;
    if (at === this.#numbers.length) {
      const grown = new Float64Array(at * 2);
      grown.set(this.#numbers);
      this.#numbers = grown;
    }
    const { term, session, batch, firstSequence, lastSequence, bytes } = summary;
    this.#numbers.set([term, session, batch, firstSequence, lastSequence, bytes], at);
    for (const [volume, pages] of summary.touched) {
      let ofVolume = this.#touching.get(volume);
      if (ofVolume === undefined) {
        ofVolume = new Map();
        this.#touching.set(volume, ofVolume);
      }
      for (const page of pages) {
        let places = ofVolume.get(page);
        if (places === undefined) {
          places = new PlaceList();
          ofVolume.set(page, places);
        }
        places.push(this.#count);
      }
    }
    this.#count += 1;
  }

  touching(volume: number, page: number, upTo: Position): readonly BatchRef[] {
    const refs: BatchRef[] = [];
    for (const place of this.#touching.get(volume)?.get(page)?.values() ?? []) {
      const [term = 0, session = 0, batch = 0, firstSequence = 0, lastSequence = 0, size = 0] = this.#numbers.subarray(
        place * 6,
        place * 6 + 6,
      );
      if (comparePositions({ session, sequence: firstSequence }, upTo) > 0) continue;
      refs.push({ term, session, batch, firstSequence, lastSequence, size });
    }
    // The site lists by session and batch; a view needs the order of positions, which is the same one.
    return refs;
  }
}

/** A growing list of whole numbers. */
class PlaceList {
  #places = new Uint32Array(4);
  #count = 0;

  push(place: number): void {
    if (this.#count === this.#places.length) {
      const grown = new Uint32Array(this.#count * 2);
      grown.set(this.#places);
      this.#places = grown;
    }
    this.#places[this.#count] = place;
    this.#count += 1;
  }

  values(): Uint32Array {
    return this.#places.subarray(0, this.#count);
  }
}
