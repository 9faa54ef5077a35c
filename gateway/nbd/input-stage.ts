/**
 * The bytes that came from a socket and are not parsed yet, in a slab. Payloads are handed to the disk where they lie: a slab with
 * requests in flight is left to them and the unparsed rest moves to another one.
 */

import { smallPayloadBytesMax, stageBytes } from "./limits.ts";
import { requestBytes } from "./protocol.ts";
import type { Slab, SlabPool } from "./slab.ts";

/** With this much room any request that is parsed in the stage can be completed. */
const roomBytesMin = requestBytes + smallPayloadBytesMax;

export class InputStage {
  readonly #pool: SlabPool;
  slab: Slab;
  /** Unparsed bytes are `[position, end)` of the slab's buffer. */
  position = 0;
  #end = 0;

  constructor(pool: SlabPool) {
    this.#pool = pool;
    this.slab = pool.acquire(stageBytes);
  }

  get available(): number {
    return this.#end - this.position;
  }

  /** Where the next bytes go; never empty. Stays valid until the next call of `space`. */
  space(): Buffer {
    if (this.available === 0 && this.slab.references === 1) {
      this.position = 0;
      this.#end = 0;
    } else if (this.slab.buffer.length - this.#end < roomBytesMin) {
      this.#makeRoom();
    }
    return this.slab.buffer.subarray(this.#end);
  }

  /** `count` bytes were put into `space()`. */
  filled(count: number): void {
    this.#end += count;
  }

  consume(count: number): void {
    this.position += count;
  }

  /** Moves up to `target.length` unparsed bytes to `target`; returns how many. */
  moveTo(target: Buffer): number {
    const count = this.slab.buffer.copy(target, 0, this.position, Math.min(this.#end, this.position + target.length));
    this.consume(count);
    return count;
  }

  release(): void {
    this.#pool.release(this.slab);
  }

  #makeRoom(): void {
    const rest = this.available;
    const needed = rest + roomBytesMin;
    if (this.slab.references === 1 && needed <= this.slab.buffer.length) {
      this.slab.buffer.copyWithin(0, this.position, this.#end);
    } else {
      const old = this.slab;
      this.slab = this.#pool.acquire(Math.max(stageBytes, needed));
      old.buffer.copy(this.slab.buffer, 0, this.position, this.#end);
      this.#pool.release(old);
    }
    this.position = 0;
    this.#end = rest;
  }
}
