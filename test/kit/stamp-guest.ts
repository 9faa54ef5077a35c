import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { stamped, stampOf } from "./crash-disk.ts";
import { SeededRandom } from "./seeded-random.ts";

const blockBytes = 4096;
/** Stands for what was in a block before the first write. */
const untouched = -2;

/** Writes blocks durably whenever somebody serves its disk, and knows what each may hold, by its own log alone. */
export class StampGuest {
  written = 0;
  readonly #uri: string;
  readonly #random: SeededRandom;
  readonly #possible = new Map<number, Set<number>>();
  #stamp = 0x7000_0000;
  #stopped = false;
  #working: Promise<void> = Promise.resolve();

  constructor(uri: string, seed: number) {
    this.#uri = uri;
    this.#random = new SeededRandom(seed);
  }

  start(): void {
    this.#stopped = false;
    this.#working = this.#work();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#working;
  }

  /** Blocks that hold neither what was acknowledged last nor what was sent since; of blocks that may be untouched `base` says what that is. */
  wrongBlocks(image: Buffer, base?: Buffer): number[] {
    const wrong: number[] = [];
    for (let block = 0; (block + 1) * blockBytes <= image.length; block += 1) {
      const found = image.subarray(block * blockBytes, (block + 1) * blockBytes);
      const possible = this.#possible.get(block) ?? new Set([untouched]);
      const before = base?.subarray(block * blockBytes, (block + 1) * blockBytes);
      const asBefore = possible.has(untouched) && (before === undefined || found.equals(before));
      if (!asBefore && !possible.has(stampOf(found))) wrong.push(block);
    }
    return wrong;
  }

  async #work(): Promise<void> {
    const { address, exportName } = parseNbdUri(this.#uri);
    while (!this.#stopped) {
      try {
        const client = await NbdClient.connect(address, exportName);
        while (!this.#stopped) await this.#write(client);
        client.destroy();
      } catch {
        // Not served, read-only, or killed: again.
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  async #write(client: NbdClient): Promise<void> {
    const block = this.#random.below(Math.floor(client.sizeBytes / blockBytes));
    this.#stamp += 1;
    this.#possible.set(block, new Set([...(this.#possible.get(block) ?? [untouched]), this.#stamp]));
    await client.write(block * blockBytes, stamped(this.#stamp, 8), { fua: true });
    this.#possible.set(block, new Set([this.#stamp]));
    this.written += 1;
  }
}
