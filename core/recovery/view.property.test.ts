import fc from "fast-check";
import { expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { type SampleExtent, vpgId } from "../../test/kit/batches.ts";
import { collected, JournalWriter } from "../../test/kit/journal.ts";
import { imageInAnyOrder, imageInOrder } from "./image-stream.ts";
import { JournalReader } from "./journal-reader.ts";
import { View } from "./view.ts";

const sizeBytes = 3 * chunkBytes + 5 * 512;
const sectors = sizeBytes / 512;

interface Step {
  readonly volume: number;
  readonly sector: number;
  readonly count: number;
  readonly kind: "write" | "zero" | "wide";
  /** The batch ends behind this record; 2 and the session too. */
  readonly cut: 0 | 1 | 2;
}

const stepArbitrary = fc.record<Step>({
  volume: fc.integer({ min: 0, max: 1 }),
  sector: fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 1000, max: 1040 }),
    fc.integer({ min: 0, max: sectors - 1 }),
  ),
  count: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 512 })),
  kind: fc.constantFrom("write", "write", "write", "zero", "wide"),
  cut: fc.constantFrom(0, 0, 0, 0, 1, 1, 2),
});

/** What every marker's image must be: the records replayed one by one over two zeroed volumes. */
interface Expected {
  readonly session: number;
  readonly sequence: number;
  readonly images: readonly Uint8Array[];
}

async function write(objects: MemoryObjects, steps: readonly Step[]): Promise<Expected[]> {
  const writer = new JournalWriter(objects);
  const volumes = [0, 1].map((volume) => ({ volume, sizeBytes, sectorBytes: 512 as const }));
  const images = volumes.map(() => new Uint8Array(sizeBytes));
  const expected: Expected[] = [];
  await writer.open({ volumes });
  let extents: SampleExtent[] = [];
  let sequence = 0;
  for (const [index, step] of steps.entries()) {
    sequence += 1;
    const room = sizeBytes - step.sector * 512;
    const length = Math.min(step.kind === "wide" ? sizeBytes : step.count * 512, room);
    const place = { volume: step.volume, sequence, offset: step.sector * 512 };
    if (step.kind === "write") {
      const bytes = Uint8Array.from({ length }, (_, at) => 1 + ((index * 31 + at) % 255));
      extents.push({ ...place, bytes });
      images[step.volume]?.set(bytes, place.offset);
    } else {
      extents.push({ ...place, zero: length });
      images[step.volume]?.fill(0, place.offset, place.offset + length);
    }
    if (step.cut === 0 && index < steps.length - 1) continue;
    sequence += 1;
    await writer.append({ extents, events: [{ kind: "marker", sequence, time: index, tag: "" }] });
    expected.push({ session: writer.session, sequence, images: images.map((image) => Uint8Array.from(image)) });
    extents = [];
    if (step.cut === 2) {
      await writer.seal();
      await writer.open({ volumes });
      sequence = 0;
    }
  }
  return expected;
}

const reads = fc.array(fc.tuple(fc.nat(sizeBytes), fc.nat(sizeBytes)), { maxLength: 4 });

it("a view shows at every marker what replaying the records in order gives", async () => {
  const tiny = { headerCacheBytes: 2000, frameCacheBytes: 3000 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(stepArbitrary, { minLength: 1, maxLength: 25 }),
      reads,
      fc.boolean(),
      async (steps, ranges, small) => {
        const objects = new MemoryObjects();
        const expected = await write(objects, steps);
        const journal = await BucketJournal.open(objects, vpgId);
        const reader = new JournalReader(journal, small ? tiny : {});
        for (const { session, sequence, images } of expected) {
          for (const [volume, image] of images.entries()) {
            const view = new View({
              reader,
              volume,
              sizeBytes,
              upTo: { session, sequence },
              ...(small ? { pageCacheBytes: 1, chunkCacheBytes: 5000 } : {}),
            });
            await expectReads(view, image, ranges);
            if (sequence === expected.at(-1)?.sequence) await expectStreams(view, image);
          }
        }
      },
    ),
    { numRuns: 30 },
  );
});

/** Written bytes are never zero here, so what is data shows in the image. */
function isZeros(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, new Uint8Array(bytes.length)) === 0;
}

async function expectReads(
  view: View,
  image: Uint8Array,
  ranges: readonly (readonly [number, number])[],
): Promise<void> {
  const whole = new Uint8Array(sizeBytes).fill(0xee);
  await view.read(0, whole);
  expect(Buffer.compare(whole, image)).toBe(0);
  for (const [one, other] of ranges) {
    const [from, to] = [Math.min(one, other), Math.max(one, other)];
    const part = new Uint8Array(to - from).fill(0xee);
    await view.read(from, part);
    expect(Buffer.compare(part, image.subarray(from, to))).toBe(0);
    expect(await view.isZeroRange(from, to - from)).toBe(isZeros(image.subarray(from, to)));
  }
}

async function expectStreams(view: View, image: Uint8Array): Promise<void> {
  for (const pieces of [imageInOrder(view, { windowBytes: chunkBytes }), imageInAnyOrder(view)]) {
    const built = new Uint8Array(sizeBytes);
    for await (const piece of pieces) {
      expect(isZeros(built.subarray(piece.offset, piece.offset + piece.bytes.length))).toBe(true);
      built.set(piece.bytes, piece.offset);
    }
    expect(Buffer.compare(built, image)).toBe(0);
  }
  let end = 0;
  for (const { offset, length } of await collected(view.dataRanges(), (range) => range)) {
    expect(isZeros(image.subarray(end, offset))).toBe(true);
    expect(image.subarray(offset, offset + length).includes(0)).toBe(false);
    end = offset + length;
  }
  expect(isZeros(image.subarray(end))).toBe(true);
}
