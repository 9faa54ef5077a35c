interface Entry<V> {
  readonly value: V;
  readonly weight: number;
}

/**
 * Keeps the values used last, up to a total weight. Loads of one key under way at the same time are one load;
 * a failed load is forgotten, so the next asks again.
 */
export class LoadingCache<V> {
  readonly #weightMax: number;
  readonly #weightOf: (value: V) => number;
  readonly #entries = new Map<number, Entry<V>>();
  readonly #loading = new Map<number, Promise<V>>();
  #weight = 0;
  #age = 0;

  constructor(weightMax: number, weightOf: (value: V) => number) {
    this.#weightMax = weightMax;
    this.#weightOf = weightOf;
  }

  /** What all kept values weigh; never above the bound once a load is over. */
  get weight(): number {
    return this.#weight;
  }

  /** The value if it is at hand, now the one used last. */
  peek(key: number): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  async get(key: number, load: () => Promise<V>): Promise<V> {
    const entry = this.#entries.get(key);
    if (entry !== undefined) return this.peek(key) ?? entry.value;
    const underWay = this.#loading.get(key);
    if (underWay !== undefined) return underWay;
    const loading = this.#load(key, load);
    this.#loading.set(key, loading);
    return loading;
  }

  /** Forgets the value of a key, if it has one. */
  delete(key: number): void {
    this.#weight -= this.#entries.get(key)?.weight ?? 0;
    this.#entries.delete(key);
  }

  /** Forgets all values; loads under way end with what they were asked for and are not kept. */
  clear(): void {
    this.#entries.clear();
    this.#loading.clear();
    this.#weight = 0;
    this.#age += 1;
  }

  async #load(key: number, load: () => Promise<V>): Promise<V> {
    const age = this.#age;
    try {
      const value = await load();
      if (age === this.#age) this.#keep(key, value);
      return value;
    } finally {
      if (age === this.#age) this.#loading.delete(key);
    }
  }

  #keep(key: number, value: V): void {
    const weight = this.#weightOf(value);
    this.#entries.set(key, { value, weight });
    this.#weight += weight;
    for (const [oldest, entry] of this.#entries) {
      if (this.#weight <= this.#weightMax) break;
      this.#entries.delete(oldest);
      this.#weight -= entry.weight;
    }
  }
}
