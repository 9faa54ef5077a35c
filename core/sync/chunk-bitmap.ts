import { chunkBytes, chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";

/** Chunks of one volume under suspicion: one bit each, so 256 KiB for 1 TiB. Numbers count over the whole volume. */
export class ChunkBitmap {
  readonly chunks: number;
  readonly #words: Uint32Array;
  #count = 0;

  constructor(sizeBytes: number) {
    this.chunks = chunkCount(sizeBytes);
    this.#words = new Uint32Array(Math.ceil(this.chunks / 32));
  }

  /** How many chunks are in it. */
  get count(): number {
    return this.#count;
  }

  has(chunk: number): boolean {
    return ((this.#words[chunk >>> 5] ?? 0) & (1 << (chunk & 31))) !== 0;
  }

  add(chunk: number): void {
    const word = chunk >>> 5;
    const before = this.#words[word] ?? 0;
    const bit = 1 << (chunk & 31);
    if ((before & bit) !== 0) return;
    this.#words[word] = before | bit;
    this.#count += 1;
  }

  /** Every chunk that the bytes touch. */
  addBytes(offset: number, length: number): void {
    if (length <= 0) return;
    const last = Math.min(this.chunks - 1, Math.floor((offset + length - 1) / chunkBytes));
    for (let chunk = Math.floor(offset / chunkBytes); chunk <= last; chunk += 1) this.add(chunk);
  }

  addAll(): void {
    this.addBytes(0, this.chunks * chunkBytes);
  }

  /** Every chunk of another one, as far as they reach here. */
  addFrom(other: ChunkBitmap): void {
    for (let chunk = other.next(0); chunk >= 0 && chunk < this.chunks; chunk = other.next(chunk + 1)) this.add(chunk);
  }

  delete(chunk: number): void {
    if (!this.has(chunk)) return;
    const word = chunk >>> 5;
    this.#words[word] = (this.#words[word] ?? 0) & ~(1 << (chunk & 31));
    this.#count -= 1;
  }

  /** The first chunk in it at or after `from`; -1 when there is none. */
  next(from: number): number {
    let word = from >>> 5;
    let bits = (this.#words[word] ?? 0) & (-1 << (from & 31));
    while (bits === 0) {
      word += 1;
      if (word >= this.#words.length) return -1;
      bits = this.#words[word] ?? 0;
    }
    return word * 32 + (31 - Math.clz32(bits & -bits));
  }

  /** The chunks of one page that are in it, as numbers inside the page, ascending. */
  inPage(page: number): number[] {
    const first = page * chunksPerPage;
    const found: number[] = [];
    for (let chunk = this.next(first); chunk >= 0 && chunk < first + chunksPerPage; chunk = this.next(chunk + 1)) {
      found.push(chunk - first);
    }
    return found;
  }
}
