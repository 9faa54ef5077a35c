import { appendFileSync } from "node:fs";
import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { DiskError } from "../../gateway/disk/block-device.ts";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { fill } from "./oracle.ts";

export interface StormPlan {
  /** By volume number. */
  readonly uris: ReadonlyMap<number, string>;
  readonly volumeBytes: number;
  readonly logFile: string;
  readonly random: SeededRandom;
  readonly connectionsPerVolume: number;
  /** Of the first write; 1 by default. */
  readonly firstId?: number;
}

/** Of a failed write's range, so many sectors are read again. */
const sectorsLookedAt = 64;

/** Random overlapping writes from several connections, each in the log before it is sent and after it is answered. */
export class Storm {
  readonly #plan: StormPlan;
  #nextId: number;
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();
  acknowledged = 0;
  /** Writes that got an error. */
  failed = 0;

  constructor(plan: StormPlan) {
    this.#plan = plan;
    this.#nextId = plan.firstId ?? 1;
  }

  get nextId(): number {
    return this.#nextId;
  }

  start(): void {
    const writers = [...this.#plan.uris].flatMap(([volume, uri]) =>
      Array.from({ length: this.#plan.connectionsPerVolume }, () => this.#connection(volume, uri)),
    );
    this.#running = Promise.all(writers);
  }

  /** Every request is answered or its connection is gone when this resolves. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Goes on over a killed gateway: what was in flight stays "submitted, never acknowledged". */
  async #connection(volume: number, uri: string): Promise<void> {
    while (!this.#stopped) {
      const { address, exportName } = parseNbdUri(uri);
      const client = await NbdClient.connect(address, exportName).catch(() => undefined);
      if (client === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        continue;
      }
      const lanes = Array.from({ length: 3 }, () => this.#lane(client, volume));
      await Promise.allSettled(lanes);
      await client.disconnect().catch(() => {});
    }
  }

  async #lane(client: NbdClient, volume: number): Promise<void> {
    while (!this.#stopped) {
      await this.#write(client, volume);
      await new Promise((resolve) => setTimeout(resolve, this.#plan.random.below(20)));
    }
  }

  async #write(client: NbdClient, volume: number): Promise<void> {
    const { random, volumeBytes } = this.#plan;
    const sectors = volumeBytes / 512;
    // Mostly small, sometimes larger than a frame and than the synchronous path; crowded at the front so that they overlap.
    const length = 512 * (1 + random.below([8, 8, 64, 256, 1500][random.below(5)] ?? 8));
    const span = random.below(2) === 0 ? sectors : Math.floor(sectors / 16);
    const offset = Math.min(512 * random.below(span), volumeBytes - length);
    const zero = random.below(8) === 0;
    const id = this.#nextId;
    this.#nextId += 1;
    const bytes = zero ? undefined : Buffer.alloc(length, fill(id));
    this.#log({ submit: id, at: Date.now(), volume, offset, length, zero });
    const fua = random.below(16) === 0;
    const written =
      bytes === undefined ? client.writeZeroes(offset, length, { fua }) : client.write(offset, bytes, { fua });
    if (await answeredWell(written)) {
      this.#log({ ack: id, at: Date.now() });
      this.acknowledged += 1;
    } else {
      this.#log({ fail: id, at: Date.now() });
      this.failed += 1;
      await this.#lookAt(client, { volume, offset, length: Math.min(length, sectorsLookedAt * 512), zero }, id);
    }
    if (random.below(30) === 0) await answeredWell(client.flush());
  }

  /** What a failed write has left: whoever saw it may build on it, so a sector that shows the write counts as written from then on. */
  async #lookAt(
    client: NbdClient,
    { volume, offset, length, zero }: { volume: number; offset: number; length: number; zero: boolean },
    id: number,
  ): Promise<void> {
    const looks = Array.from({ length: length / 512 }, (_, sector) => ({ look: this.#nextId + sector, sector }));
    this.#nextId += looks.length;
    for (const { look, sector } of looks) {
      const place = { volume, offset: offset + sector * 512, length: 512, zero };
      this.#log({ submit: look, at: Date.now(), ...place, shows: id });
    }
    const bytes = Buffer.alloc(length);
    const read = await answeredWell(client.readInto(offset, bytes));
    for (const { look, sector } of looks) {
      const written = read && bytes.subarray(sector * 512, sector * 512 + 512).equals(fill(zero ? 0 : id));
      this.#log(written ? { ack: look, at: Date.now() } : { fail: look, at: Date.now() });
    }
  }

  #log(line: object): void {
    appendFileSync(this.#plan.logFile, `${JSON.stringify(line)}\n`);
  }
}

/** False for an error of the disk; throws when the connection is gone, and with it the answer. */
async function answeredWell(request: Promise<void>): Promise<boolean> {
  try {
    await request;
    return true;
  } catch (error) {
    if (error instanceof DiskError) return false;
    throw error;
  }
}
