/** What a run may still read. */
export class Allowance {
  #bytes: number;
  #objects: number;
  #taken = 0;

  constructor(bytes: number, objects: number) {
    this.#bytes = bytes;
    this.#objects = objects;
  }

  get left(): boolean {
    return this.#bytes > 0 && this.#objects > 0;
  }

  /** Bytes that were allowed so far. */
  get taken(): number {
    return this.#taken;
  }

  /** False when nothing is left; the last object may be larger than what was, and the next run pays for it. */
  take(bytes: number): boolean {
    if (!this.left) return false;
    this.#bytes -= bytes;
    this.#objects -= 1;
    this.#taken += bytes;
    return true;
  }
}
