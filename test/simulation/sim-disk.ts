import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import type { Clock } from "#core/ports.ts";
import { type BlockDevice, DiskError } from "../../gateway/disk/block-device.ts";
import { numberIn, sectorBytes } from "./oracle/guest-log.ts";

/** Told of a sector that shows something older than it did. */
export type FellBack = (offset: number, shows: number) => void;

/** A disk that outlives processes and, as far as it was flushed, losses of power. Some writes take a while, by `slow`. */
export class SimDisk {
  readonly sectorBytes = 4096;
  readonly volume: number;
  /** Of its volume. */
  readonly name: string;
  /** Grows with every change, as a file's ctime does. */
  changes = 0;
  /** Share of requests that take up to `slowMsMax`. */
  slow = 0;
  /** Share of requests that fail with EIO, writes often halfway. */
  fails = 0;
  #image: Buffer;
  #durable: Buffer;
  readonly #dirty = new Set<number>();
  readonly #clock: Clock;
  readonly #random: SeededRandom;
  readonly #fellBack: FellBack;
  /** Lives between two losses of power. */
  #power = 0;

  /** `volume`: in the guests' log. `image`: what stands on it, durably. */
  constructor(
    { volume, name }: Pick<SimDisk, "volume" | "name">,
    image: Uint8Array,
    clock: Clock,
    random: SeededRandom,
    fellBack: FellBack,
  ) {
    this.volume = volume;
    this.name = name;
    this.#image = Buffer.from(image);
    this.#durable = Buffer.from(image);
    this.#clock = clock;
    this.#random = random;
    this.#fellBack = fellBack;
  }

  get image(): Buffer {
    return this.#image;
  }

  get sizeBytes(): number {
    return this.#image.length;
  }

  /** As somebody grows it, by what happened to stand there; who has it open sees nothing of that. */
  grow(more: Uint8Array): void {
    this.#image = Buffer.concat([this.#image, more]);
    this.#durable = Buffer.concat([this.#durable, more]);
    this.changes += 1;
  }

  /** Bits rot: a sector shows something else, and nobody is told. */
  rot(offset: number, bytes: Uint8Array): void {
    this.#image.set(bytes, offset);
    this.#durable.set(bytes, offset);
  }

  /** Whoever goes on with what it has closed fails, as with a file. */
  open(): BlockDevice {
    let closed = false;
    const ifOpen = <Result>(act: () => Result): Result => {
      if (closed) throw new DiskError("ESHUTDOWN", `${this.name} is closed`);
      return act();
    };
    return {
      sizeBytes: this.sizeBytes,
      sectorBytes: this.sectorBytes,
      readOnly: false,
      read: (offset, target) => ifOpen(() => this.read(offset, target)),
      write: (offset, source) => ifOpen(() => this.write(offset, source)),
      writeZeroes: (offset, length) => ifOpen(() => this.writeZeroes(offset, length)),
      flush: () => ifOpen(() => this.flush()),
      close: () => {
        closed = true;
        return Promise.resolve();
      },
    };
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    return this.#soon(() => {
      if (this.#random.chance(this.fails)) throw new DiskError("EIO", "injected");
      target.set(this.image.subarray(offset, offset + target.length));
    });
  }

  write(offset: number, source: Uint8Array): void | Promise<void> {
    return this.#change(offset, source.length, (length) => this.image.set(source.subarray(0, length), offset));
  }

  writeZeroes(offset: number, length: number): void | Promise<void> {
    return this.#change(offset, length, (done) => this.image.fill(0, offset, offset + done));
  }

  /** One that fails loses some of what it should have kept, and never says it again. */
  async flush(): Promise<void> {
    const covered = [...this.#dirty];
    const kept = covered.map((sector) => this.image.slice(sector * sectorBytes, (sector + 1) * sectorBytes));
    await this.#soon(() => {
      const fails = this.#random.chance(this.fails);
      for (const [index, sector] of covered.entries()) {
        const bytes = kept[index];
        if (bytes === undefined) continue;
        const start = sector * sectorBytes;
        const same = this.image.compare(bytes, 0, sectorBytes, start, start + sectorBytes) === 0;
        if (fails && same && this.#random.chance(0.3)) this.#fallBack(sector);
        else this.#durable.set(bytes, start);
        if (same) this.#dirty.delete(sector);
      }
      if (fails) throw new DiskError("EIO", "injected");
    });
  }

  /** Of what wasn't flushed a random part is gone. */
  cutPower(random: SeededRandom): void {
    this.#power += 1;
    for (const sector of [...this.#dirty].sort((left, right) => left - right)) {
      const start = sector * sectorBytes;
      if (random.chance(0.5)) this.#fallBack(sector);
      else this.#durable.set(this.image.subarray(start, start + sectorBytes), start);
    }
    this.#dirty.clear();
    this.changes += 1;
  }

  #fallBack(sector: number): void {
    const start = sector * sectorBytes;
    const before = numberIn(this.image, start);
    this.image.set(this.#durable.subarray(start, start + sectorBytes), start);
    const shows = numberIn(this.image, start);
    this.changes += 1;
    if (shows !== before) this.#fellBack(start, shows ?? -1);
  }

  /** `act` does so many bytes of it. */
  #change(offset: number, length: number, act: (length: number) => void): void | Promise<void> {
    return this.#soon(() => {
      const fails = this.#random.chance(this.fails);
      const done = fails ? this.#random.below(length / sectorBytes + 1) * sectorBytes : length;
      act(done);
      this.changes += 1;
      for (let at = offset; at < offset + done; at += sectorBytes) this.#dirty.add(at / sectorBytes);
      if (fails) throw new DiskError("EIO", "injected");
    });
  }

  #soon(act: () => void): void | Promise<void> {
    if (!this.#random.chance(this.slow)) return act();
    const power = this.#power;
    return this.#clock.sleep(this.#random.below(slowMsMax)).then(() => {
      // What was on its way when the power went never came.
      if (power === this.#power) act();
    });
  }
}

const slowMsMax = 40;
