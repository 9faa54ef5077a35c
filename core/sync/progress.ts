/** How far the sync of a VPG is. A chunk that has to be looked at again counts again in `total`. */
export interface SyncProgress {
  readonly comparedChunks: number;
  readonly differingChunks: number;
  readonly totalChunks: number;
  readonly shippedBytes: number;
  /** Null before there is a rate to go by. */
  readonly etaMs: number | null;
}

/** Below so many compared chunks a rate means nothing. */
const ratedChunksMin = 16;

/** Counts one sync from its beginning; times are of one monotonic clock, in milliseconds. */
export class SyncCounter {
  readonly #startedAt: number;
  #compared = 0;
  #differing = 0;
  #shippedBytes = 0;

  constructor(now: number) {
    this.#startedAt = now;
  }

  /** One chunk was settled; `shippedBytes` of it were sent, 0 when it equals the target's. */
  settled(shippedBytes: number): void {
    this.#compared += 1;
    if (shippedBytes > 0) this.#differing += 1;
    this.#shippedBytes += shippedBytes;
  }

  /** `remaining`: suspects that are left now. */
  progress(remaining: number, now: number): SyncProgress {
    const rated = this.#compared >= ratedChunksMin;
    const msEach = (now - this.#startedAt) / Math.max(1, this.#compared);
    return {
      comparedChunks: this.#compared,
      differingChunks: this.#differing,
      totalChunks: this.#compared + remaining,
      shippedBytes: this.#shippedBytes,
      etaMs: remaining === 0 ? 0 : rated ? Math.round(msEach * remaining) : null,
    };
  }
}
