import type { Clock } from "#core/ports.ts";
import { scrubGuestBytesMax, scrubLookMs } from "../limits.ts";

/** Whether guests leave the disks alone, by what they wrote within the last look. */
export class GuestLoad {
  readonly #writtenBytes: () => number;
  readonly #clock: Clock;
  #since: { readonly at: number; readonly bytes: number } | undefined;

  constructor(writtenBytes: () => number, clock: Clock) {
    this.#writtenBytes = writtenBytes;
    this.#clock = clock;
  }

  /** True as soon as more than a little was written since a look began, at most `scrubLookMs` ago. */
  get isHigh(): boolean {
    const now = { at: this.#clock.monotonic(), bytes: this.#writtenBytes() };
    const since = this.#since;
    // Counts begin anew with each session.
    const written = since === undefined ? 0 : now.bytes - since.bytes;
    const high = written > scrubGuestBytesMax;
    if (since === undefined || high || written < 0 || now.at - since.at >= scrubLookMs) this.#since = now;
    return high;
  }
}
