import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { SeededRandom } from "./seeded-random.ts";

/** A guest on each disk, which holds the image of the same place now. */
export function guestsOn(uris: readonly string[], images: readonly Buffer[], seed: number): Promise<NbdGuest[]> {
  return Promise.all(
    uris.map(async (uri, index) => {
      const { address, exportName } = parseNbdUri(uri);
      const client = await NbdClient.connect(address, exportName);
      return new NbdGuest(client, images[index] ?? Buffer.alloc(0), new SeededRandom(seed + index));
    }),
  );
}

/** Writes one request after the other and knows what the disk must hold, by its own log alone. */
export class NbdGuest {
  readonly image: Buffer;
  /** The image as it was before the first write, and every write, for any prefix of them. */
  readonly #base: Buffer;
  readonly #writes: { readonly offset: number; readonly bytes: Buffer }[] = [];
  readonly #client: NbdClient;
  readonly #random: SeededRandom;
  /** Sent and not answered: the disk may have it or not. */
  #inFlight: { readonly offset: number; readonly bytes: Buffer } | undefined;
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
    this.#stopped = false;
    this.#loop = this.#run();
    // Whoever stops it hears of it.
    this.#loop.catch(() => undefined);
  }

  /** So many writes, and then no more of its own accord. */
  async work(writes: number): Promise<void> {
    for (let left = writes; left > 0; left -= 1) await this.#write();
  }

  /** True for what the disk must hold: all that was acknowledged, with or without what was not answered. */
  isImage(image: Buffer): boolean {
    if (this.image.equals(image)) return true;
    if (this.#inFlight === undefined) return false;
    const { offset, bytes } = this.#inFlight;
    const more = Buffer.from(this.image);
    bytes.copy(more, offset);
    return more.equals(image);
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
    const sent = this.#inFlight === undefined ? this.#writes : [...this.#writes, this.#inFlight];
    for (const [index, { offset, bytes }] of sent.entries()) {
      bytes.copy(replay, offset);
      if (replay.equals(image)) return index + 1;
    }
    return undefined;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#write();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async #write(): Promise<void> {
    const length = 512 * (1 + this.#random.below(64));
    const offset = 512 * this.#random.below((this.image.length - length) / 512);
    const bytes = this.#random.bytes(length);
    this.#inFlight = { offset, bytes };
    await this.#client.write(offset, bytes, { fua: this.#random.chance(0.1) });
    this.#inFlight = undefined;
    bytes.copy(this.image, offset);
    this.#writes.push({ offset, bytes });
  }
}
