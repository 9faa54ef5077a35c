import { setImmediate } from "node:timers/promises";
import { Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { SyncPagePlace } from "#core/journal/keys.ts";
import type { Log } from "#core/ports.ts";
import { siteLimits } from "./limits.ts";

/** Task compare-page. `pause` is called between pieces of its work. */
type Compare = (operationId: Id, place: SyncPagePlace, pause: () => Promise<void>) => Promise<void>;

/**
 * Compares pages of delta-syncs while their gateways hash the next ones, one after the other: a site in one process would otherwise
 * have nothing to do until all are hashed. The state machine finds what is done, joins what is under way, and does what was left.
 */
export class CompareAhead {
  readonly #compare: Compare;
  readonly #log: Log;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  #closed = false;

  constructor(compare: Compare, log: Log) {
    this.#compare = compare;
    this.#log = log;
  }

  /** The hashes of a page are here. Never throws. */
  arrived(operationId: Id, place: SyncPagePlace): void {
    if (this.#closed || this.#waiting >= siteLimits.pagesAheadMax) return;
    this.#waiting += 1;
    this.#last = this.#last.then(() => this.#run(operationId, place));
  }

  /** Gives up what is under way and waits for it. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#last;
  }

  async #run(operationId: Id, place: SyncPagePlace): Promise<void> {
    try {
      await this.#pause();
      await this.#compare(operationId, place, () => this.#pause());
    } catch (error) {
      // The state machine does it again and tells what comes of it.
      this.#log.debug("page-not-compared-ahead", { operationId, ...place, error });
    } finally {
      this.#waiting -= 1;
    }
  }

  async #pause(): Promise<void> {
    await setImmediate();
    if (this.#closed) throw new Transient("the site is closing");
  }
}
