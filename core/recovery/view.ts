import { chunkBytes, chunksPerPage, pageBytes, sectorBytesMin, sectorsPerChunk } from "#core/blocks/geometry.ts";
import { InvalidInput, NotFound } from "#core/errors.ts";
import type { BatchHeader, FrameInfo } from "#core/journal/batch.ts";
import { isDamage } from "#core/journal/damage.ts";
import { parseBatchKey, parsePackKey } from "#core/journal/keys.ts";
import { frameBytesMax, framesMax } from "#core/journal/limits.ts";
import type { Position } from "#core/journal/position.ts";
import type { ByteRange } from "#core/ports.ts";
import { ChunkPainter, type ChunkRuns, weightOfRuns } from "./chunk-painter.ts";
import { concurrently } from "./concurrently.ts";
import type { JournalReader } from "./journal-reader.ts";
import { chunkCacheBytes, fetchConcurrency, pageCacheBytes } from "./limits.ts";
import { LoadingCache } from "./loading-cache.ts";
import { type PageIndex, PageIndexBuilder, type UnreadableBatch } from "./page-index.ts";
import { paintSections } from "./paint-sections.ts";

export interface ViewOptions {
  readonly reader: JournalReader;
  readonly volume: number;
  /** Size of the volume at the position. */
  readonly sizeBytes: number;
  /** Everything at or before it is in the image. */
  readonly upTo: Position;
  readonly pageCacheBytes?: number;
  readonly chunkCacheBytes?: number;
  /** What can't be read isn't asked for again: for who looks at everything once. */
  readonly asksOnce?: boolean;
}

/** Bytes that lie together in one frame and show together in the volume. */
export interface VisibleRun {
  /** Where in the volume. */
  readonly offset: number;
  readonly length: number;
  /** The batch as its `JournalReader` numbers it. */
  readonly batch: number;
  readonly frame: number;
  /** Where in the frame's raw bytes. */
  readonly frameOffset: number;
}

/** A frame of which much shows in what was read, left to be decoded. */
export interface ApartFrame {
  readonly info: FrameInfo;
  readonly stored: Uint8Array;
  /** Three numbers a run: where in what was read, length, where in the frame's raw bytes. */
  readonly runs: Float64Array;
}

/** What bytes of a volume are made of; what neither a frame nor a piece shows in is zeros. */
export interface ApartRead {
  readonly length: number;
  readonly frames: readonly ApartFrame[];
  /** `at`: where in what was read. They share memory with a cache: nobody may change them. */
  readonly pieces: readonly { readonly at: number; readonly bytes: Uint8Array }[];
}

/**
 * A volume as it stood at a position, read lazily: opening costs nothing, the first touch of a page (1 GiB) reads the
 * headers of the batches that touch it and are in no layer, the first touch of a chunk the sections of the layers that have
 * it, and reads decode only the frames that show. Safe for concurrent readers.
 */
export class View {
  readonly sizeBytes: number;
  readonly volume: number;
  readonly reader: JournalReader;
  readonly #upTo: Position;
  readonly #pages: LoadingCache<PageIndex>;
  readonly #chunks: LoadingCache<ChunkRuns>;
  readonly #asksOnce: boolean;
  #generation: string;

  constructor(options: ViewOptions) {
    this.reader = options.reader;
    this.volume = options.volume;
    this.sizeBytes = options.sizeBytes;
    this.#upTo = options.upTo;
    this.#pages = new LoadingCache(options.pageCacheBytes ?? pageCacheBytes, (page) => page.bytes);
    this.#chunks = new LoadingCache(options.chunkCacheBytes ?? chunkCacheBytes, weightOfRuns);
    this.#asksOnce = options.asksOnce ?? false;
    this.#generation = this.reader.source.generation;
  }

  /**
   * Fills `target` with the bytes at `offset`; any alignment. Throws `InvalidInput` outside the volume, `Corrupt` for
   * stored bytes that fail their checks, and what the source throws; `target` is then undefined.
   */
  async read(offset: number, target: Uint8Array): Promise<void> {
    const use = (run: VisibleRun, raw: Uint8Array): void => copyRun(run, raw, target, offset);
    const blank = (from: number, to: number): void => void target.fill(0, from - offset, to - offset);
    const load = ({ batch, frame }: VisibleRun): Promise<Uint8Array> => this.reader.frame(batch, frame);
    await this.#current(() => this.#read(offset, target.length, { use, blank, load }));
  }

  /**
   * `read` without the work: frames of which most shows in these bytes, and that aren't at hand, are answered as they are stored,
   * unchecked and not kept, for whoever decodes them elsewhere.
   */
  async readApart(offset: number, length: number): Promise<ApartRead> {
    return this.#current(async () => {
      const frames: ApartFrame[] = [];
      const pieces: { at: number; bytes: Uint8Array }[] = [];
      const use = (run: VisibleRun, raw: Uint8Array): void => {
        // Copied: of a history of scattered writes each piece would keep a frame of 256 KiB alive.
        const bytes = new Uint8Array(raw.subarray(run.frameOffset, run.frameOffset + run.length));
        pieces.push({ at: run.offset - offset, bytes });
      };
      const load = async ({ batch, frame }: VisibleRun, runs: readonly VisibleRun[]) => {
        const shown = runs.reduce((sum, run) => sum + run.length, 0);
        if (shown < frameBytesMax / 2) return this.reader.frame(batch, frame);
        const { info, bytes: stored } = await this.reader.storedFrame(batch, frame);
        const numbers = runs.flatMap((run) => [run.offset - offset, run.length, run.frameOffset]);
        frames.push({ info, stored, runs: Float64Array.from(numbers) });
        return undefined;
      };
      await this.#read(offset, length, { use, blank: () => undefined, load });
      return { length, frames, pieces };
    });
  }

  /** Looks once more where packs took the place of what it was to be read from. */
  async #current<T>(look: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await look();
      } catch (error) {
        if (!isReplaced(error) || !(await this.freshen())) throw error;
      }
    }
  }

  /**
   * Forgets where bytes stand when packs have taken the place of batches since (R13); false when none have. What was replaced is
   * there for an hour: who collects runs to read them later begins with this.
   */
  async freshen(): Promise<boolean> {
    const { source } = this.reader;
    await source.refresh();
    if (source.generation === this.#generation) return false;
    this.#generation = source.generation;
    this.#pages.clear();
    this.#chunks.clear();
    return true;
  }

  /**
   * Calls `use` for all that shows in a range, `blank` for what lies between, and `load` for each frame that isn't at hand: who answers
   * undefined sees to it.
   */
  async #read(
    offset: number,
    length: number,
    {
      use,
      blank,
      load,
    }: {
      readonly use: (run: VisibleRun, raw: Uint8Array) => void;
      readonly blank: (from: number, to: number) => void;
      readonly load: (first: VisibleRun, runs: readonly VisibleRun[]) => Promise<Uint8Array | undefined>;
    },
  ): Promise<void> {
    this.#checkRange(offset, length);
    const missing = new Map<number, VisibleRun[]>();
    const end = offset + length;
    for (let start = offset; start < end; ) {
      const stop = Math.min(end, (Math.floor(start / chunkBytes) + 1) * chunkBytes);
      const runs = await this.runsOf(start, stop);
      let filled = start;
      for (const run of runs) {
        if (run.offset > filled) blank(filled, run.offset);
        filled = run.offset + run.length;
        const raw = this.reader.peekFrame(run.batch, run.frame);
        if (raw !== undefined) use(run, raw);
        else pushTo(missing, run.batch * framesMax + run.frame, run);
      }
      if (filled < stop) blank(filled, stop);
      start = stop;
    }
    // Used as each arrives: a small cache may have dropped the first by the time the last is there.
    await concurrently([...missing.values()], fetchConcurrency, async (runs) => {
      const [first] = runs;
      const raw = first && (await load(first, runs));
      if (raw !== undefined) for (const run of runs) use(run, raw);
    });
  }

  /** True when nothing but zeros shows in the range, by the index alone: written zeros count as data. */
  async isZeroRange(offset: number, length: number): Promise<boolean> {
    this.#checkRange(offset, length);
    for await (const _ of this.#dataPieces(offset, offset + length)) return false;
    return true;
  }

  /** The first range at or after `offset` that may hold data, within one chunk; undefined when only zeros follow. */
  async nextData(offset: number): Promise<ByteRange | undefined> {
    this.#checkRange(offset, 0);
    for await (const piece of this.#dataPieces(offset, this.sizeBytes)) return piece;
    return undefined;
  }

  /** All ranges that may hold data, ascending, neighbours joined (and cut at 1 GiB). */
  async *dataRanges(from = 0, to = this.sizeBytes): AsyncGenerator<ByteRange> {
    this.#checkRange(from, to - from);
    let open: ByteRange | undefined;
    for await (const piece of this.#dataPieces(from, to)) {
      if (open !== undefined && open.offset + open.length === piece.offset && open.length + piece.length <= pageBytes) {
        open = { offset: open.offset, length: open.length + piece.length };
      } else {
        if (open !== undefined) yield open;
        open = piece;
      }
    }
    if (open !== undefined) yield open;
  }

  /** True when no extent reaches the page, so that all its chunks may be passed over. */
  async isEmptyPage(page: number): Promise<boolean> {
    const first = page * chunksPerPage;
    return this.#look(
      page,
      async ({ count }) =>
        count === 0 && !(await this.reader.source.layersTouch(this.volume, first, first + chunksPerPage - 1)),
    );
  }

  /** What shows between `from` and `to`, which lie in one chunk, ascending; the rest reads as zeros. */
  async runsOf(from: number, to: number): Promise<VisibleRun[]> {
    const chunk = Math.floor(from / chunkBytes);
    const runs = this.#chunks.peek(chunk) ?? (await this.#chunks.get(chunk, () => this.#paint(chunk)));
    return runsIn(runs, chunk * chunkBytes, from, to);
  }

  /**
   * Newest by position: no batch outside the layers is older than what they have of its volume. The page is asked for first:
   * what a layer takes in between stands in both. A batch whose header can't be read matters to chunks that newer ones don't cover.
   */
  async #paint(chunk: number): Promise<ChunkRuns> {
    const page = Math.floor(chunk / chunksPerPage);
    const sectorsHere = Math.ceil((this.sizeBytes - chunk * chunkBytes) / sectorBytesMin);
    let unreadable: UnreadableBatch | undefined;
    const runs = await this.#look(page, async (index) => {
      const painter = new ChunkPainter();
      // Behind the volume's end nothing is looked for.
      painter.zero(sectorsHere, sectorsPerChunk);
      unreadable = index.paint(chunk - page * chunksPerPage, painter);
      if (!painter.done && unreadable === undefined) {
        const sections = await this.reader.source.layerSections(this.volume, chunk);
        paintSections(sections, chunk, this.#upTo, painter, (source) => this.reader.numberOf(source));
      }
      return painter.runs();
    });
    if (unreadable === undefined) return runs;
    if (this.#asksOnce) throw unreadable.error;
    // It may be back since the page was read; if not, this throws.
    await this.reader.header(unreadable.number);
    for (const alone of [false, true]) this.#pages.delete(pageKey(page, alone));
    return this.#paint(chunk);
  }

  /** What batches and layers have together; once more, by batches alone, when layers were given up in between. */
  async #look<T>(page: number, look: (index: PageIndex) => Promise<T>): Promise<T> {
    for (;;) {
      const alone = this.reader.source.batchesAlone;
      const found = await look(await this.#page(page, alone));
      if (this.reader.source.batchesAlone === alone) return found;
    }
  }

  async *#dataPieces(from: number, to: number): AsyncGenerator<ByteRange> {
    for (let start = from; start < to; ) {
      const page = Math.floor(start / pageBytes);
      if (await this.isEmptyPage(page)) {
        start = (page + 1) * pageBytes;
        continue;
      }
      const stop = Math.min(to, (Math.floor(start / chunkBytes) + 1) * chunkBytes);
      let open: ByteRange | undefined;
      for (const run of await this.runsOf(start, stop)) {
        if (open !== undefined && open.offset + open.length === run.offset) {
          open = { offset: open.offset, length: open.length + run.length };
          continue;
        }
        if (open !== undefined) yield open;
        open = { offset: run.offset, length: run.length };
      }
      if (open !== undefined) yield open;
      start = stop;
    }
  }

  /** Of all batches when `alone`, otherwise of those in no layer: two that must not be taken for each other. */
  async #page(page: number, alone: boolean): Promise<PageIndex> {
    const key = pageKey(page, alone);
    return this.#pages.peek(key) ?? this.#pages.get(key, () => this.#buildPage(page));
  }

  async #buildPage(page: number): Promise<PageIndex> {
    const refs = await this.reader.source.batchesTouching(this.volume, page, this.#upTo);
    const builder = new PageIndexBuilder(this.volume, page, this.#upTo);
    const step = fetchConcurrency * 4;
    for (let at = 0; at < refs.length; at += step) {
      const numbers = refs.slice(at, at + step).map((ref) => this.reader.numberOf(ref));
      const headers = new Array<BatchHeader | UnreadableBatch>(numbers.length);
      await concurrently(numbers, fetchConcurrency, async (number, index) => {
        headers[index] = await this.reader.header(number).catch((error: unknown) => {
          if (isDamage(error)) return { number, error };
          throw error;
        });
      });
      // Added in order of position whatever order they came in.
      for (const [index, header] of headers.entries()) {
        if ("error" in header) builder.addUnreadable(header);
        else builder.add(header, numbers[index] ?? 0);
      }
    }
    return builder.build();
  }

  #checkRange(offset: number, length: number): void {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.sizeBytes)) {
      throw new InvalidInput(`bytes ${offset} to ${offset + length} are not in a volume of ${this.sizeBytes}`);
    }
  }
}

const pageKey = (page: number, alone: boolean): number => page * 2 + Number(alone);

/** A batch or pack is gone, for which another one stands. */
function isReplaced(error: unknown): boolean {
  const key = error instanceof NotFound ? error.details["key"] : undefined;
  return typeof key === "string" && (parseBatchKey(key) ?? parsePackKey(key)) !== undefined;
}

/** Copies what of the run lies in the target, whose first byte is the volume's `targetOffset`. */
export function copyRun(run: VisibleRun, raw: Uint8Array, target: Uint8Array, targetOffset: number): void {
  target.set(raw.subarray(run.frameOffset, run.frameOffset + run.length), run.offset - targetOffset);
}

function runsIn(runs: ChunkRuns, chunkStart: number, from: number, to: number): VisibleRun[] {
  const visible: VisibleRun[] = [];
  for (let run = 0; run < runs.count; run += 1) {
    const start = chunkStart + (runs.sector[run] ?? 0) * sectorBytesMin;
    const offset = Math.max(from, start);
    const length = Math.min(to, start + (runs.sectors[run] ?? 0) * sectorBytesMin) - offset;
    if (start >= to) break;
    if (length <= 0) continue;
    visible.push({
      ...{ offset, length },
      batch: runs.batch[run] ?? 0,
      frame: runs.frame[run] ?? 0,
      frameOffset: (runs.frameOffset[run] ?? 0) + (offset - start),
    });
  }
  return visible;
}

function pushTo<T>(lists: Map<number, T[]>, key: number, item: T): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [item]);
  else list.push(item);
}
