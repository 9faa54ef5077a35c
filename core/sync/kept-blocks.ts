import { comparePositions, type Position } from "#core/journal/position.ts";

/** Of which chunk of an image. */
export interface BlocksPlace {
  readonly volume: number;
  /** Counted from the volume's start. */
  readonly chunk: number;
  readonly upTo: Position;
}

/**
 * Block hashes that were made on the way to a chunk's, until they are asked for: an image never changes, so neither do they. Each is
 * given once, and only those of one position are kept, up to a bound; what came first stays, since it is asked for first.
 */
export class KeptBlocks {
  readonly #bytesMax: number;
  readonly #blocks = new Map<string, Uint8Array>();
  #upTo: Position | undefined;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  keep({ volume, chunk, upTo }: BlocksPlace, blocks: Uint8Array): void {
    if (!this.#isOf(upTo)) this.#forget(upTo);
    const name = `${volume} ${chunk}`;
    if (this.#blocks.has(name) || this.#bytes + blocks.length > this.#bytesMax) return;
    this.#blocks.set(name, blocks);
    this.#bytes += blocks.length;
  }

  take({ volume, chunk, upTo }: BlocksPlace): Uint8Array | undefined {
    const name = `${volume} ${chunk}`;
    const blocks = this.#isOf(upTo) ? this.#blocks.get(name) : undefined;
    if (blocks === undefined) return undefined;
    this.#blocks.delete(name);
    this.#bytes -= blocks.length;
    return blocks;
  }

  #isOf(upTo: Position): boolean {
    return this.#upTo !== undefined && comparePositions(this.#upTo, upTo) === 0;
  }

  #forget(upTo: Position): void {
    this.#blocks.clear();
    this.#bytes = 0;
    this.#upTo = upTo;
  }
}
