import type { Clock } from "#core/ports.ts";
import { SystemClock } from "../embedded/clock.ts";
import { SeededRandom } from "./seeded-random.ts";

/**
 * What can go wrong with one call:
 * - `failBefore`: nothing is done, the caller gets `Transient`;
 * - `lostReply`: it is done, the caller gets `Transient` all the same;
 * - `delay`: it is done later, so others overtake it;
 * - `duplicate`: it is done twice, the caller gets the second reply, as after a retry inside a library;
 * - `shortRead`: fewer bytes than asked for, without an error;
 * - `tornPut`: a store that breaks its promise: half the object is stored, the caller gets `Transient`.
 */
export type FaultKind = "failBefore" | "lostReply" | "delay" | "duplicate" | "shortRead" | "tornPut";

/** Probability of each kind for one call; kinds a method can't have are passed over. */
export type FaultRates = Readonly<Partial<Record<FaultKind, number>>>;

export interface FaultPlanOptions {
  readonly seed: number;
  /** By method name (`put`, `transact`); `*` is for methods that aren't named. Nothing by default. */
  readonly rates?: Readonly<Record<string, FaultRates>>;
  /** The longest `delay`. */
  readonly delayMsMax?: number;
  /** For delays: virtual time in a simulation. */
  readonly clock?: Clock;
}

/** Decides which calls fail and how: at random from a seed, or as scripted; and counts what it did. */
export class FaultPlan {
  readonly seed: number;
  readonly random: SeededRandom;
  readonly clock: Clock;
  readonly #rates: Readonly<Record<string, FaultRates>>;
  readonly #delayMsMax: number;
  readonly #script = new Map<string, FaultKind[]>();
  readonly #injected = new Map<string, number>();
  #healed = false;

  constructor(options: FaultPlanOptions) {
    this.seed = options.seed;
    this.random = new SeededRandom(options.seed);
    this.clock = options.clock ?? new SystemClock();
    this.#rates = options.rates ?? {};
    this.#delayMsMax = options.delayMsMax ?? 20;
  }

  /** The next calls of `method` that can have this fault get it, before any random one. */
  failNext(method: string, kind: FaultKind, times = 1): void {
    const waiting = this.#script.get(method) ?? [];
    waiting.push(...Array.from({ length: times }, () => kind));
    this.#script.set(method, waiting);
  }

  /** From now on nothing goes wrong: for the end of a test, when all must become well again. */
  heal(): void {
    this.#healed = true;
    this.#script.clear();
  }

  /** How often each fault was injected, as `put.lostReply`. */
  get injected(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#injected].sort());
  }

  /** All faults injected so far. */
  get injectedTotal(): number {
    return [...this.#injected.values()].reduce((sum, count) => sum + count, 0);
  }

  /** What happens to this call of `method`, which can have the `possible` faults. */
  decide(method: string, possible: readonly FaultKind[]): FaultKind | undefined {
    const kind = this.#scripted(method, possible) ?? this.#drawn(method, possible);
    if (kind !== undefined) {
      const name = `${method}.${kind}`;
      this.#injected.set(name, (this.#injected.get(name) ?? 0) + 1);
    }
    return kind;
  }

  /** The length of one delay in milliseconds. */
  delayMs(): number {
    return this.random.below(this.#delayMsMax + 1);
  }

  #scripted(method: string, possible: readonly FaultKind[]): FaultKind | undefined {
    const [kind] = this.#script.get(method) ?? [];
    if (kind === undefined || !possible.includes(kind)) return undefined;
    return this.#script.get(method)?.shift();
  }

  #drawn(method: string, possible: readonly FaultKind[]): FaultKind | undefined {
    if (this.#healed) return undefined;
    const rates = this.#rates[method] ?? this.#rates["*"] ?? {};
    // One draw a call, whatever the rates are: other rates leave the rest of the stream as it was.
    let draw = this.random.fraction();
    for (const kind of possible) {
      draw -= rates[kind] ?? 0;
      if (draw < 0) return kind;
    }
    return undefined;
  }
}
