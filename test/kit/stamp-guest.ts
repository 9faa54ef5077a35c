import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { stamped, stampOf } from "./crash-disk.ts";
import { SeededRandom } from "./seeded-random.ts";

const blockBytes = 4096;
/** Stands for what was in a block before the first write. */
const untouched = -2;

interface Write {
  readonly stamp: number;
  acknowledged: boolean;
}

interface StampPlan {
  /** Stamps begin behind it; guests that write to one disk in turn need their own. */
  readonly stamp?: number;
  /** Between two writes. */
  readonly pauseMs?: number;
}

/** Writes blocks durably, one after the other, whenever somebody serves its disk, and knows what each may hold, by its own log alone. */
export class StampGuest {
  written = 0;
  readonly #uri: string;
  readonly #random: SeededRandom;
  readonly #writes = new Map<number, Write[]>();
  #stamp: number;
  readonly #pauseMs: number;
  #stopped = false;
  #working: Promise<void> = Promise.resolve();

  constructor(uri: string, seed: number, { stamp = 0x7000_0000, pauseMs = 0 }: StampPlan = {}) {
    this.#uri = uri;
    this.#random = new SeededRandom(seed);
    this.#stamp = stamp;
    this.#pauseMs = pauseMs;
  }

  start(): void {
    this.#stopped = false;
    this.#working = this.#work();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#working;
  }

  /**
   * Blocks that hold neither what was acknowledged last nor what was sent since; of blocks that may be untouched `base` says what that
   * is. Writes behind `upTo` are taken as never sent.
   */
  wrongBlocks(image: Buffer, base?: Buffer, upTo = this.#stamp): number[] {
    return blocksOf(image).flatMap((found, block) => {
      const writes = (this.#writes.get(block) ?? []).filter(({ stamp }) => stamp <= upTo);
      const last = writes.findLastIndex(({ acknowledged }) => acknowledged);
      const before = base?.subarray(block * blockBytes, (block + 1) * blockBytes);
      const asBefore = last < 0 && (before === undefined || found.equals(before));
      const stamp = stampOf(found);
      return asBefore || writes.slice(Math.max(last, 0)).some((write) => write.stamp === stamp) ? [] : [block];
    });
  }

  /** The same for an image of any instant: it must have all that was acknowledged before the newest write in it was sent, and no more. */
  wrongBlocksOfInstant(image: Buffer, base: Buffer): number[] {
    const stamps = blocksOf(image).map((found, block) => {
      const stamp = stampOf(found);
      return this.#writes.get(block)?.some((write) => write.stamp === stamp) === true ? stamp : untouched;
    });
    return this.wrongBlocks(image, base, Math.max(untouched, ...stamps));
  }

  async #work(): Promise<void> {
    const { address, exportName } = parseNbdUri(this.#uri);
    while (!this.#stopped) {
      try {
        const client = await NbdClient.connect(address, exportName);
        while (!this.#stopped) {
          await this.#write(client);
          if (this.#pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#pauseMs));
        }
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
    const write = { stamp: this.#stamp, acknowledged: false };
    this.#writes.set(block, [...(this.#writes.get(block) ?? []), write]);
    await client.write(block * blockBytes, stamped(this.#stamp, 8), { fua: true });
    write.acknowledged = true;
    this.written += 1;
  }
}

/** The last may be a part of one, which nobody writes to. */
const blocksOf = (image: Buffer): Buffer[] =>
  Array.from({ length: Math.ceil(image.length / blockBytes) }, (_, block) =>
    image.subarray(block * blockBytes, (block + 1) * blockBytes),
  );
