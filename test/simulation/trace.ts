import { createHash } from "node:crypto";

/** Lines kept for a person; the hash is over all there ever were. */
const keptMax = 20_000;

/** Everything that happened in a run, in order: two runs of one seed must have the same. */
export class Trace {
  readonly lines: string[] = [];
  readonly #hash = createHash("sha256");
  readonly #now: () => number;
  readonly #tell: (line: string) => void;
  #count = 0;

  /** `tell` hears of everything at once, the thousands included. */
  constructor(now: () => number, tell: (line: string) => void) {
    this.#now = now;
    this.#tell = tell;
  }

  get count(): number {
    return this.#count;
  }

  /** For what there are thousands of: it counts for the hash only. */
  detail(text: string): void {
    this.#hash.update(`${this.#now()} ${text}\n`);
    this.#tell(this.#line(text));
    this.#count += 1;
  }

  add(text: string): void {
    this.detail(text);
    if (this.lines.length < keptMax) this.lines.push(this.#line(text));
  }

  #line(text: string): string {
    return `${(this.#now() / 1000).toFixed(3).padStart(9)} s  ${text}`;
  }

  /** Of the trace so far. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }
}
