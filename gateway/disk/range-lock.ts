/**
 * R1: the order of overlapping requests on one device, over all its connections.
 * Writers (write, zero, trim) exclude everything that overlaps them, readers exclude only writers; who waits is served in the order of arrival.
 * A request that completes within one tick needs no entry: it asks `isFree` and is done before anyone else can run.
 */

/** One range that is held or waited for; end exclusive, bytes. */
export interface RangeHold {
  readonly start: number;
  readonly end: number;
  readonly exclusive: boolean;
  /** Earlier conflicting entries that are not released yet; 0 means held. */
  blockers: number;
  grant: (() => void) | undefined;
}

function conflict(hold: RangeHold, start: number, end: number, exclusive: boolean): boolean {
  return hold.start < end && start < hold.end && (exclusive || hold.exclusive);
}

export class RangeLock {
  /** In the order of arrival. Its length is bounded by the requests in flight (gateway/nbd/limits.ts), so scans are short. */
  readonly #entries: RangeHold[] = [];

  /** Ranges held or waited for. */
  get size(): number {
    return this.#entries.length;
  }

  /** True when a request could start now without passing one that came first. */
  isFree(offset: number, length: number, exclusive: boolean): boolean {
    const entries = this.#entries;
    if (entries.length === 0) {
      return true;
    }
    for (const entry of entries) {
      if (conflict(entry, offset, offset + length, exclusive)) {
        return false;
      }
    }
    return true;
  }

  /** True when a writer that overlaps the range holds it or waits for it. */
  hasWriter(offset: number, length: number): boolean {
    return !this.isFree(offset, length, false);
  }

  /** Takes a range that `isFree` said is free in the same tick. */
  hold(offset: number, length: number, exclusive: boolean): RangeHold {
    const entry = this.#enter(offset, length, exclusive);
    if (entry.blockers !== 0) {
      throw new TypeError("a range was held without asking isFree in the same tick");
    }
    return entry;
  }

  /** Takes a range, after everything in conflict that came first. */
  acquire(offset: number, length: number, exclusive: boolean): Promise<RangeHold> {
    const entry = this.#enter(offset, length, exclusive);
    if (entry.blockers === 0) {
      return Promise.resolve(entry);
    }
    return new Promise((resolve) => {
      entry.grant = () => resolve(entry);
    });
  }

  /** Gives a range back and lets those in that waited only for it. */
  release(hold: RangeHold): void {
    const at = this.#entries.indexOf(hold);
    if (at < 0 || hold.blockers !== 0) {
      throw new TypeError("a range was released that is not held");
    }
    this.#entries.splice(at, 1);
    for (let index = at; index < this.#entries.length; index++) {
      const entry = this.#entries[index];
      if (entry !== undefined && entry.blockers > 0 && conflict(hold, entry.start, entry.end, entry.exclusive)) {
        entry.blockers--;
        if (entry.blockers === 0) {
          entry.grant?.();
        }
      }
    }
  }

  #enter(offset: number, length: number, exclusive: boolean): RangeHold {
    let blockers = 0;
    for (const entry of this.#entries) {
      if (conflict(entry, offset, offset + length, exclusive)) {
        blockers++;
      }
    }
    const entry: RangeHold = { start: offset, end: offset + length, exclusive, blockers, grant: undefined };
    this.#entries.push(entry);
    return entry;
  }
}
