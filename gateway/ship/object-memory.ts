import { pooledObjectBytesMax, pooledObjectBytesMin } from "../limits.ts";

/**
 * Memory of batch objects, used again once their batch is acknowledged. A fresh object of some MiB is mapped, faulted in page by page and
 * unmapped: 0.5 s of CPU for each GiB that the thread packs, a fifth of all it does.
 */
export class ObjectMemory {
  /** The one given back last stands last. */
  readonly #free: Uint8Array[] = [];
  #freeBytes = 0;

  /** `length` bytes, whatever they hold. */
  take(length: number): Uint8Array {
    if (length < pooledObjectBytesMin) return Buffer.allocUnsafeSlow(length);
    // A quarter more than needed at most: what a batch holds is counted by its length.
    const at = this.#free.findLastIndex((whole) => whole.length >= length && whole.length <= length + length / 4);
    if (at < 0) return Buffer.allocUnsafeSlow(Math.ceil(length / grainBytes) * grainBytes).subarray(0, length);
    const [whole] = this.#free.splice(at, 1);
    if (whole === undefined) throw new TypeError("a buffer was found and is gone");
    this.#freeBytes -= whole.length;
    return whole.subarray(0, length);
  }

  /** Nobody looks at what `take` gave any more. */
  give(object: Uint8Array): void {
    if (object.length < pooledObjectBytesMin) return;
    const whole = new Uint8Array(object.buffer);
    this.#free.push(whole);
    this.#freeBytes += whole.length;
    while (this.#freeBytes > pooledObjectBytesMax) this.#freeBytes -= this.#free.shift()?.length ?? 0;
  }
}

/** Lengths are rounded up to whole ones of these, so that neighbours fit each other's memory. */
const grainBytes = 64 * 1024;
