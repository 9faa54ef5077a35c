import type { NbdClient } from "../../gateway/nbd/client.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** Writes one request after the other and knows what the disk must hold, by its own log alone. */
export class NbdGuest {
  readonly image: Buffer;
  /** The image as it was before the first write, and every write, for any prefix of them. */
  readonly #base: Buffer;
  readonly #writes: { readonly offset: number; readonly bytes: Buffer }[] = [];
  readonly #client: NbdClient;
  readonly #random: SeededRandom;
  #stopped = false;
  #loop: Promise<void> | undefined;

  constructor(client: NbdClient, base: Buffer, random: SeededRandom) {
    this.#client = client;
    this.#base = base;
    this.image = Buffer.from(base);
    this.#random = random;
  }

  get writes(): number {
    return this.#writes.length;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Rejects when any write failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  /** How many of the first writes make this image; undefined when no number does. */
  prefixOf(image: Buffer): number | undefined {
    const replay = Buffer.from(this.#base);
    if (replay.equals(image)) return 0;
    for (const [index, { offset, bytes }] of this.#writes.entries()) {
      bytes.copy(replay, offset);
      if (replay.equals(image)) return index + 1;
    }
    return undefined;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const length = 512 * (1 + this.#random.below(64));
      const offset = 512 * this.#random.below((this.image.length - length) / 512);
      const bytes = this.#random.bytes(length);
      await this.#client.write(offset, bytes, { fua: this.#random.chance(0.1) });
      bytes.copy(this.image, offset);
      this.#writes.push({ offset, bytes });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
