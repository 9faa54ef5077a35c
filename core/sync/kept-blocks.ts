import { chunksPerPage } from "#core/blocks/geometry.ts";
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
  /** By volume, and by chunk. */
  readonly #blocks = new Map<number, Map<number, Uint8Array>>();
  /** Of each volume that is hashed page by page: the two that were begun last. */
  readonly #pages = new Map<number, readonly number[]>();
  #upTo: Position | undefined;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  keep({ volume, chunk, upTo }: BlocksPlace, blocks: Uint8Array): void {
    if (!this.#isOf(upTo)) this.#forget(upTo);
    const ofVolume = this.#blocks.get(volume) ?? new Map<number, Uint8Array>();
    if (ofVolume.has(chunk) || this.#bytes + blocks.length > this.#bytesMax) return;
    this.#blocks.set(volume, ofVolume.set(chunk, blocks));
    this.#bytes += blocks.length;
  }

  /**
   * Who compares a volume page by page has a page hashed, perhaps while it still compares the one before: it is done with all others
   * of the volume, and what was never asked for, since it was equal, goes.
   */
  beginPage(volume: number, page: number, upTo: Position): void {
    if (!this.#isOf(upTo)) this.#forget(upTo);
    const stay = [...(this.#pages.get(volume) ?? []).filter((other) => other !== page), page].slice(-2);
    this.#pages.set(volume, stay);
    for (const chunk of this.#blocks.get(volume)?.keys() ?? []) {
      if (!stay.includes(Math.floor(chunk / chunksPerPage))) this.take({ volume, chunk, upTo });
    }
  }

  take({ volume, chunk, upTo }: BlocksPlace): Uint8Array | undefined {
    const ofVolume = this.#isOf(upTo) ? this.#blocks.get(volume) : undefined;
    const blocks = ofVolume?.get(chunk);
    if (blocks === undefined) return undefined;
    ofVolume?.delete(chunk);
    this.#bytes -= blocks.length;
    return blocks;
  }

  #isOf(upTo: Position): boolean {
    return this.#upTo !== undefined && comparePositions(this.#upTo, upTo) === 0;
  }

  #forget(upTo: Position): void {
    this.#blocks.clear();
    this.#pages.clear();
    this.#bytes = 0;
    this.#upTo = upTo;
  }
}
