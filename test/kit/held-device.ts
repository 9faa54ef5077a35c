import { MemoryDevice } from "./memory-device.ts";

/** A disk whose writes wait until they are let go. */
export class HeldDevice extends MemoryDevice {
  #letGo: (() => void)[] = [];

  override write(offset: number, source: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#letGo.push(() => {
        super.write(offset, source);
        resolve();
      });
    });
  }

  /** Writes that wait. */
  get held(): number {
    return this.#letGo.length;
  }

  letGo(): void {
    const waiting = this.#letGo;
    this.#letGo = [];
    for (const each of waiting) {
      each();
    }
  }
}
