/**
 * What clients saw of their own writes, in the order in which they saw it. Nothing of Farshore is imported here or in judge.ts:
 * a rule that both had wrong would judge itself right.
 */

/** Clients write whole sectors of this size, each filled with the write's number. */
export const sectorBytes = 4096;

export interface Write {
  readonly id: number;
  /** What its sectors read as: its own number, or 0 for zeros. */
  readonly shows: number;
  /** Places in the log; infinite until it comes to that. */
  readonly submitted: number;
  acked: number;
  /** From here on it can't change the disk any more. */
  over: number;
  /** True time, ms. */
  readonly submittedAt: number;
  ackedAt: number;
}

const beginning = (shows: number): Write => ({
  ...{ id: 0, shows, submitted: -1, acked: -1, over: -1, submittedAt: 0, ackedAt: 0 },
});

export interface Place {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}

/** A sector full of a number. */
export function sectorOf(id: number): Buffer {
  return Buffer.alloc(sectorBytes, Buffer.from(new Float64Array([id]).buffer));
}

/** The number that a sector is full of; undefined for a mixture. */
export function numberIn(image: Uint8Array, start: number): number | undefined {
  const bytes = Buffer.from(image.buffer, image.byteOffset + start, sectorBytes);
  const same = bytes.compare(bytes, 0, sectorBytes - 8, 8, sectorBytes) === 0;
  return same ? bytes.readDoubleLE(0) : undefined;
}

export class GuestLog {
  /** What stood in each sector before the first write, by volume. */
  readonly #before = new Map<number, readonly (number | undefined)[]>();
  readonly #covering = new Map<string, Write[]>();
  readonly #writes = new Map<number, Write>();
  #line = 0;
  acknowledged = 0;

  /** `before`: what the disks showed when their clients got them; zeros otherwise. */
  constructor(before: ReadonlyMap<number, Uint8Array> = new Map()) {
    for (const [volume, image] of before) {
      const sectors = Array.from({ length: image.length / sectorBytes }, (_, at) => numberIn(image, at * sectorBytes));
      this.#before.set(volume, sectors);
    }
  }

  submit(id: number, place: Place, zero: boolean, now: number): void {
    this.#add(id, zero ? 0 : id, place, now);
  }

  acknowledge(id: number, now: number): void {
    const write = this.#writes.get(id);
    if (write === undefined) return;
    write.acked = this.#line;
    write.over = this.#line;
    write.ackedAt = now;
    this.#line += 1;
    this.acknowledged += 1;
  }

  /** It got no good answer, and none of it will reach the disk from here on: each of its sectors was written or not. */
  end(id: number): void {
    const write = this.#writes.get(id);
    if (write !== undefined && write.over === Number.POSITIVE_INFINITY) write.over = this.#line++;
  }

  /** A disk lost its power, and a sector shows what it had shown before: as if the client had written that, whatever it wrote since. */
  fellBack(id: number, volume: number, offset: number, shows: number, now: number): void {
    this.#add(id, shows, { volume, offset, length: sectorBytes }, now);
    this.acknowledge(id, now);
  }

  /** Every write that touches a sector, in the order of submission, after what stood there before. */
  writesOf(volume: number, offset: number): readonly Write[] {
    const before = this.#before.get(volume)?.[offset / sectorBytes] ?? 0;
    return [beginning(before), ...(this.#covering.get(`${volume}/${offset}`) ?? [])];
  }

  #add(id: number, shows: number, { volume, offset, length }: Place, now: number): void {
    const never = Number.POSITIVE_INFINITY;
    const write = { id, shows, submitted: this.#line, acked: never, over: never, submittedAt: now, ackedAt: never };
    this.#line += 1;
    this.#writes.set(id, write);
    for (let at = offset; at < offset + length; at += sectorBytes) {
      const key = `${volume}/${at}`;
      const known = this.#covering.get(key);
      if (known === undefined) this.#covering.set(key, [write]);
      else known.push(write);
    }
  }
}
