/** A disk that forgets at a crash what was not flushed, and images whose sectors are numbered. */
import { type BlockDevice, DiskError } from "../../gateway/disk/block-device.ts";
import type { Image } from "../../gateway/export/image.ts";
import type { BitmapStore } from "../../gateway/export/local-bitmap.ts";
import type { SeededRandom } from "./seeded-random.ts";

const sectorBytes = 512;

interface Version {
  readonly bytes: Uint8Array;
  completed: boolean;
}

/** Sectors that outlive a process, each with the versions that the medium may hold: the first is durable, the last is read. */
export class CrashMedium {
  readonly sizeBytes: number;
  readonly #sectors = new Map<number, Version[]>();

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }

  read(offset: number, target: Uint8Array): void {
    for (let at = 0; at < target.length; at += sectorBytes) {
      const newest = this.#sectors.get((offset + at) / sectorBytes)?.at(-1);
      if (newest === undefined) target.fill(0, at, at + sectorBytes);
      else target.set(newest.bytes, at);
    }
  }

  /** Puts new versions that a crash may keep or lose; returns what marks them as completed. */
  write(offset: number, source: Uint8Array): () => void {
    const made: Version[] = [];
    for (let at = 0; at < source.length; at += sectorBytes) {
      const version = { bytes: source.slice(at, at + sectorBytes), completed: false };
      this.#versions((offset + at) / sectorBytes).push(version);
      made.push(version);
    }
    return () => {
      for (const version of made) version.completed = true;
    };
  }

  /** Begins a flush; the function it returns ends it: what was completed at the beginning is then durable. */
  flush(): () => void {
    const durable = [...this.#sectors].map(
      ([sector, versions]) => [sector, versions.findLast((v) => v.completed)] as const,
    );
    return () => {
      for (const [sector, version] of durable) {
        const versions = this.#versions(sector);
        if (version !== undefined && versions.includes(version)) versions.splice(0, versions.indexOf(version));
      }
    };
  }

  /** Each sector keeps any one of its versions. */
  crash(random: SeededRandom): void {
    for (const versions of this.#sectors.values()) {
      const kept = versions[random.below(versions.length)];
      if (kept !== undefined) versions.splice(0, versions.length, { ...kept, completed: true });
    }
  }

  #versions(sector: number): Version[] {
    let versions = this.#sectors.get(sector);
    if (versions === undefined) {
      versions = [{ bytes: new Uint8Array(sectorBytes), completed: true }];
      this.#sectors.set(sector, versions);
    }
    return versions;
  }
}

/** One process's hold on a medium. Once `dead`, nothing that it began ever completes. Answers now or later, as the random numbers say. */
export class CrashDisk implements BlockDevice, BitmapStore {
  readonly sizeBytes: number;
  readonly sectorBytes = sectorBytes;
  readonly readOnly = false;
  dead = false;
  /** One write in so many fails halfway with EIO; 0 for none. */
  failOneIn = 0;
  failFlushes = false;
  readonly #medium: CrashMedium;
  readonly #random: SeededRandom;

  constructor(medium: CrashMedium, random: SeededRandom) {
    this.#medium = medium;
    this.#random = random;
    this.sizeBytes = medium.sizeBytes;
  }

  read(offset: number, target: Uint8Array): void {
    this.#medium.read(offset, target);
  }

  write(offset: number, source: Uint8Array): Promise<void>;
  write(offset: number, source: Uint8Array, fua: boolean): void | Promise<void>;
  write(offset: number, source: Uint8Array, fua?: boolean): void | Promise<void> {
    if (this.dead) return new Promise<never>(() => undefined);
    if (this.failOneIn > 0 && this.#random.chance(1 / this.failOneIn)) {
      const part = this.#random.below(source.length / sectorBytes + 1) * sectorBytes;
      this.#medium.write(offset, source.subarray(0, part))();
      throw new DiskError("EIO", "as the test wishes");
    }
    const complete = this.#medium.write(offset, source);
    if (fua !== undefined && this.#random.chance(1 / 2)) return complete();
    return this.#later(complete);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.write(offset, new Uint8Array(length), false);
  }

  flush(): Promise<void> {
    if (this.dead) return new Promise<never>(() => undefined);
    if (this.failFlushes) return Promise.reject(new DiskError("EIO", "as the test wishes"));
    return this.#later(this.#medium.flush());
  }

  sync(): Promise<void> {
    return this.flush();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #later(act: () => void): Promise<void> {
    for (let ticks = this.#random.below(4); ticks > 0; ticks -= 1) await new Promise((go) => setImmediate(go));
    if (this.dead) await new Promise<never>(() => undefined);
    act();
  }
}

/** An image whose sectors hold their own number (plus one) in each 32-bit word, or zeros where `isHole` says so. */
export class NumberedImage implements Image {
  readonly sizeBytes: number;
  readonly #isHole: (sector: number) => boolean;
  reads = 0;

  constructor(sizeBytes: number, isHole: (sector: number) => boolean = () => false) {
    this.sizeBytes = sizeBytes;
    this.#isHole = isHole;
  }

  stamp(sector: number): number {
    return this.#isHole(sector) ? 0 : sector + 1;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    this.reads += 1;
    await new Promise((go) => setImmediate(go));
    for (let at = 0; at < target.length; at += sectorBytes) {
      target.set(stamped(this.stamp((offset + at) / sectorBytes), 1), at);
    }
  }

  async knownZero(offset: number, length: number): Promise<boolean> {
    for (let sector = offset / sectorBytes; sector < (offset + length) / sectorBytes; sector += 1) {
      if (!this.#isHole(sector)) return false;
    }
    return true;
  }
}

/** `sectors` sectors full of one number. */
export function stamped(stamp: number, sectors: number): Buffer {
  const words = new Uint32Array((sectors * sectorBytes) / 4).fill(stamp);
  return Buffer.from(words.buffer);
}

/** The number a sector is full of, or -1 when it is torn. */
export function stampOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stamp = view.getUint32(0, true);
  for (let at = 4; at < bytes.length; at += 4) if (view.getUint32(at, true) !== stamp) return -1;
  return stamp;
}
