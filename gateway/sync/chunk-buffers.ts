import { chunkBytes } from "#core/blocks/geometry.ts";

/** A bounded number of chunk-sized buffers: so much may be read ahead by all volumes together. */
export class ChunkBuffers {
  readonly #free: ArrayBuffer[] = [];
  readonly #waiting: ((buffer: ArrayBuffer) => void)[] = [];
  #left: number;

  constructor(buffersMax: number) {
    this.#left = buffersMax;
  }

  async take(): Promise<ArrayBuffer> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#left > 0) {
      this.#left -= 1;
      return new ArrayBuffer(chunkBytes);
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Gives a buffer back, or one that takes its place; for one that went down with another thread there is a new one. */
  give(buffer: ArrayBuffer): void {
    const whole = buffer.byteLength === chunkBytes ? buffer : new ArrayBuffer(chunkBytes);
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(whole);
    else next(whole);
  }
}
