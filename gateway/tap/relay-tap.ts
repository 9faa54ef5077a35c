import type { Tap } from "./tap.ts";

/**
 * A tap whose receiver comes later. Recovered disks have it from their attach on and it keeps nothing, so that their capture can begin
 * while guests use them: from that call on every acknowledgement goes to the receiver.
 */
export class RelayTap implements Tap {
  #receiver: Tap | undefined;

  /** Undefined: nobody receives any more. */
  passTo(receiver: Tap | undefined): void {
    this.#receiver = receiver;
  }

  write(volume: number, offset: number, bytes: Uint8Array): void {
    this.#receiver?.write(volume, offset, bytes);
  }

  zero(volume: number, offset: number, length: number): void {
    this.#receiver?.zero(volume, offset, length);
  }

  distrust(volume: number, offset: number, length: number): void {
    this.#receiver?.distrust(volume, offset, length);
  }
}
