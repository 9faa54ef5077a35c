/** A set of the grains (fixed-size pieces) of a disk, as a bitmap: 4 MiB for 16 TiB in grains of 512 KiB. */
export class ChunkSet {
  readonly #sizeBytes: number;
  readonly #grainBytes: number;
  readonly #words: Uint32Array;
  /** Words outside `[low, high]` are zero, so that emptying a set costs what was put in. */
  #low = Number.POSITIVE_INFINITY;
  #high = -1;

  constructor(sizeBytes: number, grainBytes: number) {
    this.#sizeBytes = sizeBytes;
    this.#grainBytes = grainBytes;
    this.#words = new Uint32Array(Math.ceil(Math.ceil(sizeBytes / grainBytes) / 32));
  }

  get isEmpty(): boolean {
    return this.#high < 0;
  }

  /** Adds every grain that the bytes `[offset, offset + length)` touch. */
  add(offset: number, length: number): void {
    if (length === 0) {
      return;
    }
    const first = Math.floor(offset / this.#grainBytes);
    const last = Math.floor((offset + length - 1) / this.#grainBytes);
    for (let grain = first; grain <= last; grain++) {
      const word = grain >>> 5;
      this.#words[word] = (this.#words[word] ?? 0) | (1 << (grain & 31));
    }
    this.#low = Math.min(this.#low, first >>> 5);
    this.#high = Math.max(this.#high, last >>> 5);
  }

  addAll(other: ChunkSet): void {
    for (let word = other.#low; word <= other.#high; word++) {
      this.#words[word] = (this.#words[word] ?? 0) | (other.#words[word] ?? 0);
    }
    this.#low = Math.min(this.#low, other.#low);
    this.#high = Math.max(this.#high, other.#high);
  }

  clear(): void {
    if (!this.isEmpty) {
      this.#words.fill(0, this.#low, this.#high + 1);
      this.#low = Number.POSITIVE_INFINITY;
      this.#high = -1;
    }
  }

  /** Calls back for each run of neighbouring grains, in bytes, cut to the size of the disk, ascending. */
  forEachRun(visit: (offset: number, length: number) => void): void {
    let start = -1;
    const end = (this.#high + 1) * 32;
    for (let grain = Math.min(this.#low * 32, end); grain <= end; grain++) {
      const present = grain < end && ((this.#words[grain >>> 5] ?? 0) & (1 << (grain & 31))) !== 0;
      if (present && start < 0) {
        start = grain;
      } else if (!present && start >= 0) {
        const from = start * this.#grainBytes;
        visit(from, Math.min(grain * this.#grainBytes, this.#sizeBytes) - from);
        start = -1;
      }
    }
  }
}
