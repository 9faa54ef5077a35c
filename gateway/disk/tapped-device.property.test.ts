/** R1 and R2 under a disk that is late, reorders, fails and writes halves: the journal equals the disk, or says where it doesn't. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { type DiskFaults, FaultyDevice } from "../../test/kit/faulty-device.ts";
import { MemoryDevice } from "../../test/kit/memory-device.ts";
import { holds } from "../../test/kit/property.ts";
import { RecordingTap } from "../../test/kit/recording-tap.ts";
import type { BlockDevice } from "./block-device.ts";
import { DiskError } from "./block-device.ts";
import { TappedDevice } from "./tapped-device.ts";

const sectorBytes = 512;
const sizeBytes = 32 * sectorBytes;

type Kind = "write" | "fua" | "zero" | "trim" | "read" | "flush" | "turn";

const operation = fc.record({
  kind: fc.constantFrom<Kind>("write", "write", "write", "fua", "zero", "trim", "read", "read", "flush", "turn"),
  sector: fc.nat(31),
  sectors: fc.integer({ min: 1, max: 8 }),
  fill: fc.integer({ min: 1, max: 255 }),
});

/** Fails the test when two overlapping requests of which one writes are with the disk at once. */
class Witness {
  readonly #ranges = new Set<{ readonly start: number; readonly end: number; readonly writes: boolean }>();

  watch(device: BlockDevice): BlockDevice {
    const guard = <Result>(offset: number, length: number, writes: boolean, call: () => Result): Result => {
      const range = { start: offset, end: offset + length, writes };
      for (const other of this.#ranges) {
        if ((writes || other.writes) && other.start < range.end && range.start < other.end) {
          throw new TypeError(`overlap: ${JSON.stringify(range)} with ${JSON.stringify(other)}`);
        }
      }
      this.#ranges.add(range);
      const done = (): boolean => this.#ranges.delete(range);
      try {
        const result = call();
        if (result instanceof Promise) {
          result.then(done, done);
        } else {
          done();
        }
        return result;
      } catch (error) {
        done();
        throw error;
      }
    };
    return {
      sizeBytes: device.sizeBytes,
      sectorBytes: device.sectorBytes,
      readOnly: false,
      read: (offset, target) => guard(offset, target.length, false, () => device.read(offset, target)),
      write: (offset, source, fua) => guard(offset, source.length, true, () => device.write(offset, source, fua)),
      writeZeroes: (offset, length, options) =>
        guard(offset, length, true, () => device.writeZeroes(offset, length, options)),
      trim: (offset, length) => guard(offset, length, true, () => device.trim?.(offset, length)),
      flush: () => device.flush(),
      close: () => device.close(),
    };
  }
}

async function play(
  operations: readonly { kind: Kind; sector: number; sectors: number; fill: number }[],
  seed: number,
  faults: Partial<DiskFaults>,
): Promise<void> {
  const memory = new MemoryDevice(sizeBytes);
  const tap = new RecordingTap(sizeBytes);
  const bugs: unknown[] = [];
  const faulty = new FaultyDevice(memory, seed, faults);
  const device = new TappedDevice(new Witness().watch(faulty), tap, 7, (error) => bugs.push(error));
  const mayFail = (error: unknown): void => {
    expect(error).toBeInstanceOf(DiskError);
  };
  const perform = async (kind: Kind, offset: number, length: number, fill: number): Promise<void> => {
    const before = tap.records.length;
    switch (kind) {
      case "write":
      case "fua": {
        const source = Buffer.alloc(length, fill);
        await device.write(offset, source, kind === "fua");
        // Acknowledged means appended: the record is there, and carries these bytes.
        expect(tap.records.slice(before).some((each) => each.offset === offset && source.equals(each.bytes))).toBe(
          true,
        );
        return;
      }
      case "zero":
        await device.writeZeroes(offset, length, { mayTrim: true, fua: fill % 2 === 0 });
        return;
      case "trim":
        await device.trim?.(offset, length);
        return;
      case "read": {
        const target = Buffer.alloc(length);
        await device.read(offset, target);
        if (faults.writeFails === undefined) {
          // What a guest saw is in the journal by the time it is told: one state between the start and now shows it.
          const states = tap.records.length - before + 1;
          const seen = Array.from({ length: states }, (_, at) => tap.imageAfter(before + at));
          expect(seen.some((image) => image.subarray(offset, offset + length).equals(target))).toBe(true);
        }
        return;
      }
      case "flush":
        return device.flush();
      case "turn":
        return;
    }
  };
  const running: Promise<void>[] = [];
  for (const { kind, sector, sectors, fill } of operations) {
    const offset = sector * sectorBytes;
    const length = Math.min(sectors * sectorBytes, sizeBytes - offset);
    if (kind === "turn") {
      await new Promise((resolve) => setImmediate(resolve));
    }
    running.push(perform(kind, offset, length, fill).catch(mayFail));
  }
  await Promise.all(running);
  expect(bugs).toEqual([]);
  const image = tap.imageAfter(tap.records.length);
  for (let byte = 0; byte < sizeBytes; byte++) {
    if (!tap.distrusted.has(Math.floor(byte / sectorBytes)) && image[byte] !== memory.image[byte]) {
      expect.fail(`byte ${byte} is ${memory.image[byte]} on the disk and ${image[byte]} in the journal`);
    }
  }
}

const seed = fc.integer({ min: 0, max: 2 ** 31 });

it("keeps journal and disk equal, in the order of the disk, when requests are late and overlap", async () => {
  await holds(
    fc.asyncProperty(
      fc.array(operation, { maxLength: 40 }),
      seed,
      fc.constantFrom(0, 0.5, 1),
      (operations, start, isLate) => play(operations, start, { isLate }),
    ),
    { numRuns: 200 },
  );
});

it("keeps them equal outside what it distrusts when the disk fails, writes halves, and can't be read", async () => {
  const faults = { isLate: 0.5, writeFails: 0.2, writeIsPartial: 0.2, readFails: 0.2, flushFails: 0.3 };
  await holds(
    fc.asyncProperty(fc.array(operation, { maxLength: 40 }), seed, (operations, start) =>
      play(operations, start, faults),
    ),
    { numRuns: 200 },
  );
});
