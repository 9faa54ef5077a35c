import { chunksPerPage, pageBytes, sectorBytesMin, sectorsPerChunk } from "#core/blocks/geometry.ts";
import { LimitExceeded } from "#core/errors.ts";
import { type BatchHeader, extentKinds } from "#core/journal/batch.ts";
import type { Position } from "#core/journal/position.ts";
import type { ChunkPainter } from "./chunk-painter.ts";
import { pageExtentsMax } from "./limits.ts";

/** In `PageIndex.frame`: the extent is a zero. Frame numbers stay below 64. */
const zeroFrame = 0xff;
/** The extent is the whole page, of a batch that may have written any of it: `batch` is a place in `PageIndex.unreadable`. */
const unreadableFrame = 0xfe;

/** A batch whose header can't be read. */
export interface UnreadableBatch {
  /** As the builder was told it. */
  readonly number: number;
  readonly error: unknown;
}

/** An extent that spans more chunks than this is kept apart: a 1 GiB zero would stand in 2048 lists otherwise. */
const narrowChunksMax = 2;

/**
 * Which extents show in one page (1 GiB) of a volume as of a position. Columns in order of position, bucketed by chunk;
 * 21 to 25 bytes an extent. A chunk is painted when it is first read.
 */
export class PageIndex {
  /** First sector in the page. */
  readonly start: Uint32Array;
  readonly sectors: Uint32Array;
  /** Number of the batch, as the builder was told it. */
  readonly batch: Uint32Array;
  readonly frame: Uint8Array;
  /** Where the extent's first byte within the page stands in the frame. */
  readonly frameOffset: Uint32Array;
  readonly unreadable: readonly UnreadableBatch[];
  /** Extents of chunk c are `list[heads[c]] … list[heads[c + 1] - 1]`, ascending. */
  readonly #heads: Uint32Array;
  readonly #list: Uint32Array;
  /** Extents of more than two chunks, ascending. */
  readonly #wide: Uint32Array;

  constructor(columns: Pick<PageIndex, "start" | "sectors" | "batch" | "frame" | "frameOffset" | "unreadable">) {
    this.start = columns.start;
    this.sectors = columns.sectors;
    this.batch = columns.batch;
    this.frame = columns.frame;
    this.frameOffset = columns.frameOffset;
    this.unreadable = columns.unreadable;
    const count = this.start.length;
    const heads = new Uint32Array(chunksPerPage + 2);
    let wideCount = 0;
    for (let extent = 0; extent < count; extent += 1) {
      const first = this.#firstChunk(extent);
      const last = this.#lastChunk(extent);
      if (last - first >= narrowChunksMax) wideCount += 1;
      else for (let chunk = first; chunk <= last; chunk += 1) heads[chunk + 2] = (heads[chunk + 2] ?? 0) + 1;
    }
    for (let chunk = 2; chunk < heads.length; chunk += 1) heads[chunk] = (heads[chunk] ?? 0) + (heads[chunk - 1] ?? 0);
    const list = new Uint32Array(heads[chunksPerPage + 1] ?? 0);
    const wide = new Uint32Array(wideCount);
    let wideAt = 0;
    // heads[c + 1] serves as chunk c's cursor and ends as the start of chunk c + 1: a counting sort, stable by position.
    for (let extent = 0; extent < count; extent += 1) {
      const first = this.#firstChunk(extent);
      const last = this.#lastChunk(extent);
      if (last - first >= narrowChunksMax) {
        wide[wideAt] = extent;
        wideAt += 1;
        continue;
      }
      for (let chunk = first; chunk <= last; chunk += 1) {
        const cursor = heads[chunk + 1] ?? 0;
        list[cursor] = extent;
        heads[chunk + 1] = cursor + 1;
      }
    }
    this.#heads = heads;
    this.#list = list;
    this.#wide = wide;
  }

  get count(): number {
    return this.start.length;
  }

  /** Memory held, for the cache's bound. */
  get bytes(): number {
    return this.count * 17 + (this.#list.length + this.#wide.length + this.#heads.length) * 4;
  }

  /**
   * Hands the painter what the page has of its chunk `chunk`, from the newest on, until it is done. Answers the unreadable batch that
   * stands between what is painted and what is not, if there is one: below it nothing is known.
   */
  paint(chunk: number, painter: ChunkPainter): UnreadableBatch | undefined {
    let narrow = (this.#heads[chunk + 1] ?? 0) - 1;
    const narrowEnd = this.#heads[chunk] ?? 0;
    let wide = this.#wide.length - 1;
    const chunkStart = chunk * sectorsPerChunk;
    while (!painter.done && (narrow >= narrowEnd || wide >= 0)) {
      const nearest = narrow >= narrowEnd ? (this.#list[narrow] ?? 0) : -1;
      const widest = wide >= 0 ? (this.#wide[wide] ?? 0) : -1;
      const extent = Math.max(nearest, widest);
      if (extent === nearest) narrow -= 1;
      else wide -= 1;
      const first = (this.start[extent] ?? 0) - chunkStart;
      const sectors = this.sectors[extent] ?? 0;
      const frame = this.frame[extent] ?? 0;
      if (frame === unreadableFrame) return this.unreadable[this.batch[extent] ?? 0];
      if (frame === zeroFrame) painter.zero(first, sectors);
      else painter.write(first, sectors, this.batch[extent] ?? 0, frame, this.frameOffset[extent] ?? 0);
    }
    return undefined;
  }

  #firstChunk(extent: number): number {
    return Math.floor((this.start[extent] ?? 0) / sectorsPerChunk);
  }

  #lastChunk(extent: number): number {
    return Math.floor(((this.start[extent] ?? 0) + (this.sectors[extent] ?? 0) - 1) / sectorsPerChunk);
  }
}

/** Collects the extents of one page from headers handed over in order of position. */
export class PageIndexBuilder {
  readonly #volume: number;
  readonly #pageStart: number;
  readonly #upTo: Position;
  #capacity = 1024;
  #count = 0;
  #start = new Uint32Array(this.#capacity);
  #sectors = new Uint32Array(this.#capacity);
  #batch = new Uint32Array(this.#capacity);
  #frame = new Uint8Array(this.#capacity);
  #frameOffset = new Uint32Array(this.#capacity);
  readonly #unreadable: UnreadableBatch[] = [];

  constructor(volume: number, page: number, upTo: Position) {
    this.#volume = volume;
    this.#pageStart = page * pageBytes;
    this.#upTo = upTo;
  }

  /** Takes what the batch has in the page, up to the position. `number` comes back in `PageIndex.batch`. */
  add(header: BatchHeader, number: number): void {
    const { count, kind, volume, sequenceDelta, offset, length, frame, frameOffset } = header.extents;
    if (header.session > this.#upTo.session) return;
    const deltaMost =
      header.session < this.#upTo.session ? Number.POSITIVE_INFINITY : this.#upTo.sequence - header.firstSequence;
    for (let index = 0; index < count; index += 1) {
      if (volume[index] !== this.#volume) continue;
      if ((sequenceDelta[index] ?? 0) > deltaMost) break;
      const start = (offset[index] ?? 0) - this.#pageStart;
      const end = Math.min(pageBytes, start + (length[index] ?? 0));
      if (end <= 0 || start >= pageBytes) continue;
      const cut = start < 0 ? -start : 0;
      const shown = kind[index] === extentKinds.zero ? zeroFrame : (frame[index] ?? 0);
      this.#put(start + cut, end - start - cut, number, shown, (frameOffset[index] ?? 0) + cut);
    }
  }

  /** Takes a batch that touches the page and whose header can't be read. */
  addUnreadable(batch: UnreadableBatch): void {
    this.#put(0, pageBytes, this.#unreadable.push(batch) - 1, unreadableFrame, 0);
  }

  #put(start: number, length: number, batch: number, frame: number, frameOffset: number): void {
    if (this.#count === this.#capacity) this.#grow();
    const at = this.#count;
    this.#start[at] = start / sectorBytesMin;
    this.#sectors[at] = length / sectorBytesMin;
    this.#batch[at] = batch;
    this.#frame[at] = frame;
    this.#frameOffset[at] = frameOffset;
    this.#count = at + 1;
  }

  build(): PageIndex {
    return new PageIndex({
      start: this.#start.slice(0, this.#count),
      sectors: this.#sectors.slice(0, this.#count),
      batch: this.#batch.slice(0, this.#count),
      frame: this.#frame.slice(0, this.#count),
      frameOffset: this.#frameOffset.slice(0, this.#count),
      unreadable: this.#unreadable,
    });
  }

  #grow(): void {
    if (this.#capacity >= pageExtentsMax) {
      throw new LimitExceeded(`a page has more than ${pageExtentsMax} extents: compact the journal`, {
        pageExtentsMax,
      });
    }
    const grown = this.#capacity * 2;
    const copy = <T extends Uint8Array | Uint32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.#start = copy(this.#start, new Uint32Array(grown));
    this.#sectors = copy(this.#sectors, new Uint32Array(grown));
    this.#batch = copy(this.#batch, new Uint32Array(grown));
    this.#frame = copy(this.#frame, new Uint8Array(grown));
    this.#frameOffset = copy(this.#frameOffset, new Uint32Array(grown));
    this.#capacity = grown;
  }
}
