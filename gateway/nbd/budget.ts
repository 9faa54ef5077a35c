import { inFlightBytesPerConnectionMax, inFlightBytesTotalMax } from "./limits.ts";

/** The payload bytes that all connections of a server hold together. */
export class Budget {
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** True when a connection that holds `own` bytes may take `bytes` more. One request of a connection always goes on, so it needs to wait only for its own. */
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
  }
}
