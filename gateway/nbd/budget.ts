import { inFlightBytesPerConnectionMax, inFlightBytesTotalMax } from "./limits.ts";

/** The payload bytes that all connections of a server hold together, and those who wait for some to come free. */
export class Budget {
  readonly #waiting = new Set<() => void>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** True when a connection that holds `own` bytes may take `bytes` more. One request of a connection always goes on, so nobody starves. */
  admits(own: number, bytes: number): boolean {
    return (
      own === 0 ||
      bytes === 0 ||
      (own + bytes <= inFlightBytesPerConnectionMax && this.#bytes + bytes <= inFlightBytesTotalMax)
    );
  }

  take(bytes: number): void {
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
    if (bytes > 0 && this.#waiting.size > 0) {
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const resume of waiting) {
        resume();
      }
    }
  }

  /** Calls `resume` once when bytes come free. */
  wait(resume: () => void): void {
    this.#waiting.add(resume);
  }

  forget(resume: () => void): void {
    this.#waiting.delete(resume);
  }
}
