/**
 * Buffers that are used again. A fresh megabyte costs page faults and pressure on the collector; on the data plane both show.
 * A slab goes back to its pool when its last reference is dropped: the current user, each request that still reads from it, each socket write.
 */
import { pooledFreeBytesMax, stageBytes } from "./limits.ts";

/** Room for a reply's header beside a payload that is a power of two. */
const slackBytes = 64;

export interface Slab {
  readonly buffer: Buffer;
  references: number;
}

export class SlabPool {
  readonly #free = new Map<number, Slab[]>();
  #freeBytes = 0;

  /** A slab of at least `bytes` (contents undefined) with one reference. */
  acquire(bytes: number): Slab {
    let size = stageBytes;
    while (size + slackBytes < bytes) {
      size *= 2;
    }
    const slab = this.#free.get(size + slackBytes)?.pop();
    if (slab === undefined) {
      return { buffer: Buffer.allocUnsafeSlow(size + slackBytes), references: 1 };
    }
    this.#freeBytes -= slab.buffer.length;
    slab.references = 1;
    return slab;
  }

  retain(slab: Slab): void {
    slab.references++;
  }

  release(slab: Slab): void {
    slab.references--;
    if (slab.references > 0) {
      return;
    }
    if (slab.references < 0) {
      throw new TypeError("a slab was released more often than retained");
    }
    if (this.#freeBytes + slab.buffer.length > pooledFreeBytesMax) {
      return;
    }
    const same = this.#free.get(slab.buffer.length);
    if (same === undefined) {
      this.#free.set(slab.buffer.length, [slab]);
    } else {
      same.push(slab);
    }
    this.#freeBytes += slab.buffer.length;
  }
}
