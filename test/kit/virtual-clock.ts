import type { Clock } from "#core/ports.ts";

interface Sleeper {
  readonly at: number;
  readonly order: number;
  readonly wake: () => void;
}

/** Noon of a fixed day, so that printed times are the same in every run. */
const START = Date.UTC(2030, 0, 1, 12);

/** Turns of the event loop after which code that only awaits promises, files and SQLite has come to rest. */
const SETTLE_TURNS = 4;

/** Turns `until` waits for real I/O while nobody sleeps, before it says that the promise hangs. */
const IDLE_TURNS_MAX = 20_000;

/**
 * A clock that stands still until a test moves it. Sleeps end in order of their time, then of their start; after each
 * the code that waited runs until it rests, so a run is the same every time.
 */
export class VirtualClock implements Clock {
  #now: number;
  readonly #start: number;
  #order = 0;
  readonly #sleepers = new Set<Sleeper>();

  constructor(start = START) {
    this.#now = start;
    this.#start = start;
  }

  /** Whole milliseconds, as a machine's clock shows them, though sleeps may be of fractions. */
  now(): number {
    return Math.floor(this.#now);
  }

  monotonic(): number {
    return this.#now - this.#start;
  }

  /** How many sleeps are pending. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** When the next sleep ends; now when nobody sleeps. */
  get nextAt(): number {
    return Math.max(this.#now, this.#next()?.at ?? this.#now);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const stop = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason);
      };
      const sleeper: Sleeper = {
        at: this.#now + Math.max(0, ms),
        order: this.#order++,
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal?.removeEventListener("abort", stop);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", stop, { once: true });
    });
  }

  /** Lets everything that can run without time passing run. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < SETTLE_TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Moves time forward by `ms`, ending the sleeps on the way one by one. */
  async advance(ms: number): Promise<void> {
    const target = this.#now + ms;
    await this.settle();
    for (let next = this.#next(); next !== undefined && next.at <= target; next = this.#next()) await this.step();
    this.#now = target;
  }

  /** Time passes and nobody notices: every sleep that was to end meanwhile is late, and ends when time goes on. */
  leap(ms: number): void {
    this.#now += ms;
  }

  /** Ends the next sleep, whenever it is due; false when nobody sleeps. */
  async step(): Promise<boolean> {
    await this.settle();
    const next = this.#next();
    if (next === undefined) return false;
    this.#now = Math.max(this.#now, next.at);
    next.wake();
    await this.settle();
    return true;
  }

  /** Passes as much time as `work` needs and answers what it answers. Throws when it hangs with nobody asleep. */
  async until<T>(work: Promise<T>): Promise<T> {
    let open = true;
    const end = (): void => {
      open = false;
    };
    work.then(end, end);
    await this.settle();
    for (let idle = 0; open; ) {
      if (await this.step()) idle = 0;
      else if (open && ++idle > IDLE_TURNS_MAX) throw new Error("the virtual clock waits, but nobody sleeps");
    }
    return work;
  }

  #next(): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (first === undefined || sleeper.at < first.at || (sleeper.at === first.at && sleeper.order < first.order)) {
        first = sleeper;
      }
    }
    return first;
  }
}
