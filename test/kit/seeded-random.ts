import { SeededRandom as SeededNumbers } from "#adapters/faulty/seeded-random.ts";

/** The repeatable numbers of the faulty adapters, with bytes as a Buffer: the same seed gives the same run. */
export class SeededRandom extends SeededNumbers {
  /** A number in `[0, 1)`. */
  next(): number {
    return this.fraction();
  }

  override bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; at++) bytes[at] = this.below(256);
    return bytes;
  }
}
