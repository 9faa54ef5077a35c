/**
 * Which blocks of a volume are local, one bit each, in a file of its own.
 * Bits only go from 0 to 1, and reach the file only after the data they speak for is durable: so a torn or lost write of the
 * bitmap forgets local blocks, and never invents one. Loaded by pages of 1 GiB of volume, so that opening costs nothing.
 */
import { bitmapPageBytes, bitmapPagesMax, bitmapSectorBytes, blockBytes } from "./limits.ts";

/** Where the bits rest. Bytes past the end of what was ever written read as zeros. */
export interface BitmapStore {
  /** Fills the whole of `target`, synchronously: once per page of 1 GiB. */
  read(offset: number, target: Uint8Array): void;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Makes all writes before it durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

interface Page {
  readonly bits: Uint8Array;
  /** One flag a sector: bits were set since the last `persist`. */
  readonly dirty: Uint8Array;
  isDirty: boolean;
  /** Taken by the `persist` under way: its bits are in no file yet. */
  isBeingWritten: boolean;
}

const blocksPerPage = bitmapPageBytes * 8;

export class LocalBitmap {
  readonly blockCount: number;
  readonly #store: BitmapStore;
  /** In the order of use, the longest unused first. */
  readonly #pages = new Map<number, Page>();
  #lastIndex = -1;
  #lastPage: Page | undefined;
  #dirtyPages = 0;

  constructor(store: BitmapStore, sizeBytes: number) {
    this.#store = store;
    this.blockCount = Math.ceil(sizeBytes / blockBytes);
  }

  /** Bytes of a bitmap file for a volume of that size. */
  static fileBytes(sizeBytes: number): number {
    const bytes = Math.ceil(Math.ceil(sizeBytes / blockBytes) / 8);
    return Math.ceil(bytes / bitmapSectorBytes) * bitmapSectorBytes;
  }

  /** Pages with bits that no `persist` has taken yet. */
  get dirtyPages(): number {
    return this.#dirtyPages;
  }

  has(block: number): boolean {
    const inPage = block % blocksPerPage;
    const bits = this.#page(Math.floor(block / blocksPerPage)).bits;
    return ((bits[inPage >>> 3] ?? 0) & (1 << (inPage & 7))) !== 0;
  }

  /** The end of the run of blocks from `first` on that are all local, or all not, as `first` is; at most `end`. */
  runEnd(first: number, end: number): number {
    const local = this.has(first);
    const wholeByte = local ? 0xff : 0;
    let block = first + 1;
    while (block < end) {
      const bits = this.#page(Math.floor(block / blocksPerPage)).bits;
      const pageEnd = Math.min(end, (Math.floor(block / blocksPerPage) + 1) * blocksPerPage);
      while (block < pageEnd) {
        const inPage = block % blocksPerPage;
        const byte = bits[inPage >>> 3] ?? 0;
        if ((inPage & 7) === 0 && byte === wholeByte) block += 8;
        else if (((byte & (1 << (inPage & 7))) !== 0) === local) block += 1;
        else return block;
      }
    }
    return end;
  }

  /** True when all blocks of `[first, end)` are local. */
  hasAll(first: number, end: number): boolean {
    return this.has(first) && this.runEnd(first, end) >= end;
  }

  /** Marks the blocks `[first, end)` as local. */
  set(first: number, end: number): void {
    for (let block = first; block < end; ) {
      const index = Math.floor(block / blocksPerPage);
      const page = this.#page(index);
      const from = block - index * blocksPerPage;
      const to = Math.min(end - index * blocksPerPage, blocksPerPage);
      setBits(page.bits, from, to);
      for (let sector = sectorOf(from); sector <= sectorOf(to - 1); sector += 1) page.dirty[sector] = 1;
      if (!page.isDirty) {
        page.isDirty = true;
        this.#dirtyPages += 1;
      }
      block = index * blocksPerPage + to;
    }
  }

  /**
   * Makes the bits set before the call durable, after `makeDataDurable` did so for the blocks they speak for. One at a time.
   * The sectors are copied first: bits set meanwhile must not ride along ahead of their data.
   */
  async persist(makeDataDurable: () => Promise<void>): Promise<void> {
    const taken = this.#dirtyPages === 0 ? [] : this.#takeDirty();
    await makeDataDurable();
    if (taken.length === 0) return;
    for (const { sectors } of taken) {
      for (const sector of sectors) await this.#store.write(sector.offset, sector.bytes);
    }
    await this.#store.sync();
    for (const { page } of taken) page.isBeingWritten = false;
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #page(index: number): Page {
    if (index === this.#lastIndex && this.#lastPage !== undefined) return this.#lastPage;
    let page = this.#pages.get(index);
    if (page === undefined) {
      this.#evict();
      page = {
        bits: new Uint8Array(bitmapPageBytes),
        dirty: new Uint8Array(bitmapPageBytes / bitmapSectorBytes),
        isDirty: false,
        isBeingWritten: false,
      };
      this.#store.read(index * bitmapPageBytes, page.bits);
    } else {
      this.#pages.delete(index);
    }
    this.#pages.set(index, page);
    this.#lastIndex = index;
    this.#lastPage = page;
    return page;
  }

  #takeDirty() {
    const taken: {
      readonly page: Page;
      readonly sectors: { readonly offset: number; readonly bytes: Uint8Array }[];
    }[] = [];
    for (const [index, page] of this.#pages) {
      if (!page.isDirty) continue;
      const sectors = [];
      for (let sector = 0; sector < page.dirty.length; sector += 1) {
        if (page.dirty[sector] === 0) continue;
        const at = sector * bitmapSectorBytes;
        sectors.push({ offset: index * bitmapPageBytes + at, bytes: page.bits.slice(at, at + bitmapSectorBytes) });
      }
      taken.push({ page, sectors });
      page.dirty.fill(0);
      page.isDirty = false;
      page.isBeingWritten = true;
    }
    this.#dirtyPages = 0;
    return taken;
  }

  /** Drops the longest unused page whose bits are all in the file. */
  #evict(): void {
    if (this.#pages.size < bitmapPagesMax) return;
    for (const [index, page] of this.#pages) {
      if (page.isDirty || page.isBeingWritten) continue;
      this.#pages.delete(index);
      return;
    }
  }
}

function sectorOf(blockInPage: number): number {
  return Math.floor(blockInPage / (bitmapSectorBytes * 8));
}

function setBits(bits: Uint8Array, first: number, end: number): void {
  const setOne = (bit: number): void => {
    bits[bit >>> 3] = (bits[bit >>> 3] ?? 0) | (1 << (bit & 7));
  };
  let bit = first;
  for (; bit < end && (bit & 7) !== 0; bit += 1) setOne(bit);
  const wholeEnd = bit + ((end - bit) & ~7);
  bits.fill(0xff, bit >>> 3, wholeEnd >>> 3);
  for (bit = Math.max(bit, wholeEnd); bit < end; bit += 1) setOne(bit);
}
