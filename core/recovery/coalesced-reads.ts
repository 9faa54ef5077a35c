import type { ByteRange, Objects } from "#core/ports.ts";
import { coalescedBytesMax, coalescedGapBytes } from "./limits.ts";

interface Ask {
  readonly range: ByteRange;
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads ranges of one object that are asked for at the same moment and lie next to each other by one read: the frames of a batch are
 * asked for one by one, and each read of its own would open a file, or be a request over the network. Answers may share memory.
 */
export class CoalescedReads implements Pick<Objects, "get"> {
  readonly #objects: Pick<Objects, "get">;
  #asks: Map<string, Ask[]> | undefined;

  constructor(objects: Pick<Objects, "get">) {
    this.#objects = objects;
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    if (range === undefined) return this.#objects.get(key);
    return new Promise((resolve, reject) => {
      const asks = this.#asks ?? this.#collect();
      const ofKey = asks.get(key) ?? [];
      asks.set(key, ofKey);
      ofKey.push({ range, resolve, reject });
    });
  }

  /** Asks gather until the code that runs now, and what it resolved, has come to rest. */
  #collect(): Map<string, Ask[]> {
    const asks = new Map<string, Ask[]>();
    this.#asks = asks;
    const send = (): void => {
      this.#asks = undefined;
      for (const [key, ofKey] of asks) {
        ofKey.sort((left, right) => left.range.offset - right.range.offset);
        for (let first = 0; first < ofKey.length; ) first = this.#readTogether(key, ofKey, first);
      }
    };
    // A few turns of the queue: those who were answered together ask again in different ones.
    void Promise.resolve().then(() => Promise.resolve().then(() => Promise.resolve().then(send)));
    return asks;
  }

  /** Reads the neighbours from `first` on; returns the place of the first ask that is left. */
  #readTogether(key: string, asks: readonly Ask[], first: number): number {
    const start = asks[first]?.range.offset ?? 0;
    let end = start;
    let next = first;
    for (; next < asks.length; next += 1) {
      const { offset, length } = asks[next]?.range ?? { offset: 0, length: 0 };
      const together = Math.max(end, offset + length);
      if (next > first && (offset > end + coalescedGapBytes || together - start > coalescedBytesMax)) break;
      end = together;
    }
    const group = asks.slice(first, next);
    this.#objects.get(key, { offset: start, length: end - start }).then(
      (bytes) => {
        // Cut at the object's end, as each alone would be.
        for (const { range, resolve } of group) {
          resolve(bytes.subarray(range.offset - start, range.offset - start + range.length));
        }
      },
      (error: unknown) => {
        for (const { reject } of group) reject(error);
      },
    );
    return next;
  }
}
