/**
 * A disk that behaves as badly as a disk may: it fails, writes a part and then fails, answers late and out of order, loses what was not
 * flushed when the machine crashes. Seeded; a decorator over any other disk.
 */

import { type BlockDevice, DiskError } from "../../gateway/disk/block-device.ts";
import { SeededRandom } from "./seeded-random.ts";

/** Probabilities in `[0, 1]`; what isn't named doesn't happen. Change them at any time. */
export interface DiskFaults {
  /** A read fails with EIO. */
  readFails: number;
  /** A write fails with EIO and changed nothing. */
  writeFails: number;
  /** A write changes some of its sectors, then fails with EIO. */
  writeIsPartial: number;
  /** A write stops somewhere and fails with EIO. */
  writeIsShort: number;
  /** A flush fails; what it should have made durable may be lost in a crash. */
  flushFails: number;
  /** A request completes in a later turn of the event loop, so that completions are reordered. */
  isLate: number;
  /** Of the late ones, those that take milliseconds. */
  isSlow: number;
}

export const noFaults: DiskFaults = {
  readFails: 0,
  writeFails: 0,
  writeIsPartial: 0,
  writeIsShort: 0,
  flushFails: 0,
  isLate: 0,
  isSlow: 0,
};

/** A late request waits up to this many turns of the event loop before it is done, and again after it. */
const turnsMax = 5;
/** A slow one waits up to this long instead. */
const slowMsMax = 40;

interface UnflushedWrite {
  readonly offset: number;
  readonly before: Buffer;
  readonly after: Buffer;
  durable: boolean;
}

export class FaultyDevice implements BlockDevice {
  readonly faults: DiskFaults;
  readonly #inner: BlockDevice;
  readonly #random: SeededRandom;
  #unflushed: UnflushedWrite[] = [];
  /** Requests that the disk beneath has. */
  readonly #underWay = new Set<Promise<void>>();
  #dead = false;
  readonly trim?: (offset: number, length: number) => void | Promise<void>;

  constructor(inner: BlockDevice, seed: number, faults: Partial<DiskFaults> = {}) {
    this.#inner = inner;
    this.#random = new SeededRandom(seed);
    this.faults = { ...noFaults, ...faults };
    if (inner.trim !== undefined) {
      this.trim = (offset, length) => this.#run(() => this.#write(offset, Buffer.alloc(length), false));
    }
  }

  get sizeBytes(): number {
    return this.#inner.sizeBytes;
  }

  get sectorBytes(): 512 | 4096 {
    return this.#inner.sectorBytes;
  }

  get readOnly(): boolean {
    return this.#inner.readOnly;
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    return this.#run(() => {
      if (this.#random.chance(this.faults.readFails)) {
        throw new DiskError("EIO", `injected: read at ${offset}`);
      }
      return this.#inner.read(offset, target);
    });
  }

  write(offset: number, source: Uint8Array, fua: boolean): void | Promise<void> {
    return this.#run(() => this.#write(offset, source, fua));
  }

  writeZeroes(
    offset: number,
    length: number,
    options: { readonly mayTrim: boolean; readonly fua: boolean },
  ): void | Promise<void> {
    return this.#run(() => this.#write(offset, Buffer.alloc(length), options.fua));
  }

  flush(): Promise<void> {
    const covered = [...this.#unflushed];
    return this.#runLate(async () => {
      if (this.#random.chance(this.faults.flushFails)) {
        throw new DiskError("EIO", "injected: flush");
      }
      await this.#inner.flush();
      this.#unflushed = this.#unflushed.filter((write) => !covered.includes(write));
    });
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /**
   * The machine loses power: from now on no request does or answers anything, and of the sectors written since the last good flush
   * a random part survives. Resolves when the disk beneath is as the next start finds it.
   */
  async crash(): Promise<void> {
    this.#dead = true;
    await Promise.allSettled(this.#underWay);
    const writes = this.#unflushed;
    for (const { offset, before } of writes.toReversed()) {
      await this.#inner.write(offset, before, false);
    }
    for (const { offset, after, durable } of writes) {
      for (let at = 0; at < after.length; at += this.sectorBytes) {
        if (durable || this.#random.chance(0.5)) {
          await this.#inner.write(offset + at, after.subarray(at, at + this.sectorBytes), false);
        }
      }
    }
  }

  /** Does the work now and answers now; or does it at one random moment, and answers at a later one. */
  #run(work: () => void | Promise<void>): void | Promise<void> {
    return this.#random.chance(this.faults.isLate) ? this.#runLate(work) : this.#alive(work);
  }

  async #runLate(work: () => void | Promise<void>): Promise<void> {
    await this.#wait();
    await this.#alive(work);
    await this.#wait();
  }

  /** Hands the work to the disk beneath, unless the power is gone: then it never ends. */
  #alive(work: () => void | Promise<void>): void | Promise<void> {
    if (this.#dead) {
      return new Promise<never>(() => undefined);
    }
    const pending = work();
    if (pending instanceof Promise) {
      this.#underWay.add(pending);
      const done = (): boolean => this.#underWay.delete(pending);
      pending.then(done, done);
    }
    return pending;
  }

  async #wait(): Promise<void> {
    if (this.#random.chance(this.faults.isSlow)) {
      await new Promise((resolve) => setTimeout(resolve, this.#random.below(slowMsMax)));
    }
    const turns = this.faults.isLate > 0 ? this.#random.below(turnsMax) : 0;
    for (let turn = 0; turn < turns; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #write(offset: number, source: Uint8Array, fua: boolean): void | Promise<void> {
    if (this.#random.chance(this.faults.writeFails)) {
      throw new DiskError("EIO", `injected: write at ${offset}`);
    }
    if (this.#random.chance(this.faults.writeIsPartial)) {
      return this.#applySome(offset, source, () => this.#random.chance(0.5));
    }
    if (this.#random.chance(this.faults.writeIsShort)) {
      const end = this.#random.below(source.length);
      return this.#applySome(offset, source, (at) => at < end);
    }
    return this.#apply(offset, source, fua);
  }

  /** Writes the sectors that are chosen, then fails. */
  #applySome(offset: number, source: Uint8Array, chosen: (at: number) => boolean): void | Promise<void> {
    const pending: Promise<void>[] = [];
    for (let at = 0; at < source.length; at += this.sectorBytes) {
      if (!chosen(at)) continue;
      const applied = this.#apply(offset + at, source.subarray(at, at + this.sectorBytes), false);
      if (applied instanceof Promise) pending.push(applied);
    }
    const failed = (): never => {
      throw new DiskError("EIO", `injected: partial write at ${offset}`);
    };
    return pending.length > 0 ? Promise.all(pending).then(failed) : failed();
  }

  #apply(offset: number, source: Uint8Array, fua: boolean): void | Promise<void> {
    const before = Buffer.alloc(source.length);
    const read = this.#inner.read(offset, before);
    const write = (): void | Promise<void> => {
      this.#unflushed.push({ offset, before, after: Buffer.from(source), durable: fua });
      return this.#inner.write(offset, source, false);
    };
    return read instanceof Promise ? read.then(write) : write();
  }
}
