import fc from "fast-check";
import { expect, it } from "vitest";
import { FarshoreError } from "#core/errors.ts";
import { plainColumns, type SampleExtent, sampleInput, tampered, vpgId } from "../../test/kit/batches.ts";
import { type BatchEvent, type BatchHeader, extentKinds, type HoldEvent, type MarkerEvent } from "./batch.ts";
import { decodeHeader } from "./decode.ts";
import { encodeBatch } from "./encode.ts";
import { decodeFrame, type FrameLevel } from "./frame.ts";
import type { Position } from "./position.ts";
import { verifyBatch } from "./verify-batch.ts";

const sectors = 64;

interface Step {
  readonly gap: number;
  readonly volume: number;
  readonly sector: number;
  readonly count: number;
  readonly zero: boolean;
}

const steps = fc.array(
  fc.record<Step>({
    gap: fc.integer({ min: 1, max: 3 }),
    volume: fc.integer({ min: 0, max: 1 }),
    sector: fc.integer({ min: 0, max: sectors - 1 }),
    count: fc.integer({ min: 1, max: 16 }),
    zero: fc.boolean(),
  }),
  { minLength: 1, maxLength: 40 },
);

function samplesOf(list: readonly Step[]): SampleExtent[] {
  let sequence = 0;
  return list.map((step) => {
    sequence += step.gap;
    const length = Math.min(step.count, sectors - step.sector) * 512;
    const place = { volume: step.volume, sequence, offset: step.sector * 512 };
    return step.zero ? { ...place, zero: length } : { ...place, bytes: new Uint8Array(length).fill(sequence % 251) };
  });
}

type Ending = Extract<BatchEvent, { readonly kind: "marker" | "hold" | "barrier" }>;

/** A component of session 1, the batch's own, and of others. */
const vectorOf = (own: number, others: readonly number[]): Position[] =>
  [1, ...others].map((session, index) => ({ session, sequence: index === 0 ? own : session * 2 ** 30 }));

const placed = <E extends Ending>(end: E, sequence: number): E => ({ ...end, sequence });

/** The last record of a batch, or none; sequence is the test's. */
const tag = fc.string({ maxLength: 40 });
const time = fc.nat();
const ends = fc.oneof(
  fc.constant(undefined),
  fc.record<MarkerEvent>({ kind: fc.constant("marker"), sequence: fc.constant(0), time, tag }),
  fc.record<HoldEvent>({ kind: fc.constant("hold"), sequence: fc.constant(0), time }),
  fc
    .record({
      time,
      tag,
      others: fc.uniqueArray(fc.integer({ min: 2, max: 2 ** 20 }), { minLength: 1, maxLength: 63 }),
    })
    .map(({ others, ...event }): Ending => {
      const vector = vectorOf(
        1,
        others.sort((left, right) => left - right),
      );
      return { kind: "barrier", sequence: 0, ...event, vector };
    }),
);

/** Both volumes after every extent was applied in order. */
function replay(samples: readonly SampleExtent[]): Uint8Array[] {
  const images = [new Uint8Array(sectors * 512), new Uint8Array(sectors * 512)];
  for (const { volume = 0, offset, bytes, zero = 0 } of samples) {
    if (bytes) images[volume]?.set(bytes, offset);
    else images[volume]?.fill(0, offset, offset + zero);
  }
  return images;
}

function samplesIn(header: BatchHeader, object: Uint8Array): SampleExtent[] {
  const frames = header.frames.map((frame, index) =>
    decodeFrame(header, index, object.subarray(frame.start, frame.start + frame.storedLength)),
  );
  const columns = plainColumns(header.extents);
  return Array.from({ length: header.extents.count }, (_, index) => {
    const of = (name: string): number => columns[name]?.[index] ?? -1;
    const place = { volume: of("volume"), sequence: header.firstSequence + of("sequenceDelta"), offset: of("offset") };
    if (of("kind") === extentKinds.zero) return { ...place, zero: of("length") };
    const start = of("frameOffset");
    return { ...place, bytes: frames[of("frame")]?.subarray(start, start + of("length")) ?? new Uint8Array(0) };
  });
}

it("a batch decodes to what was encoded, and coalescing never changes the image", () => {
  fc.assert(
    fc.property(steps, fc.constantFrom<FrameLevel>("zstd1", "zstd-5", "raw"), ends, (list, level, end) => {
      const samples = samplesOf(list);
      const last = samples.at(-1)?.sequence ?? 0;
      const input = sampleInput({
        firstSequence: 1,
        extents: samples,
        level,
        events: end === undefined ? [] : [placed(end, last + 1)],
      });
      const object = encodeBatch(input);
      const used = encodeBatch(input, (length) => new Uint8Array(length).fill(0xee));
      expect(Buffer.compare(used, object), "memory that was used before").toBe(0);
      const size = { sizeBytes: sectors * 512, sectorBytes: 512 };
      const place = { vpgId, term: 1, session: 1, batch: 0 };
      const header = verifyBatch(object, { ...place, volumes: new Map([0, 1].map((volume) => [volume, size])) });
      expect(decodeHeader(object, { size: object.length })).toEqual(header);
      expect(plainColumns(header.extents)).toEqual(plainColumns(input.extents));
      expect(header.events).toEqual(input.events);
      expect(replay(samplesIn(header, object))).toEqual(replay(samples));
    }),
    { numRuns: 150 },
  );
});

it.each<Ending>([
  { kind: "marker", sequence: 21, time: 1, tag: "tag" },
  { kind: "hold", sequence: 21, time: 1 },
  { kind: "barrier", sequence: 21, time: 1, tag: "tag", vector: vectorOf(1, [3, 9]) },
])("no change of bytes, whole or with its checks made right again, does more than be refused by name: $kind", (end) => {
  const object = encodeBatch(
    sampleInput({
      extents: samplesOf(
        Array.from({ length: 20 }, (_, at) => ({ gap: 1, volume: at % 2, sector: at, count: 4, zero: at % 5 === 0 })),
      ),
      events: [end],
    }),
  );
  const size = { sizeBytes: sectors * 512, sectorBytes: 512 };
  const bounds = { vpgId, term: 1, session: 1, batch: 0, volumes: new Map([0, 1].map((volume) => [volume, size])) };
  const changes = fc.array(fc.tuple(fc.nat(object.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(changes, fc.boolean(), (list, repaired) => {
      const change = (bytes: Uint8Array): void => {
        for (const [place, value] of list) if (place < 16 || place >= 20) bytes[place] = value;
      };
      const bytes = Uint8Array.from(object);
      if (!repaired) change(bytes);
      const received = repaired ? tampered(object, (_, copy) => change(copy)) : bytes;
      try {
        verifyBatch(received, bounds);
      } catch (error) {
        expect(error).toBeInstanceOf(FarshoreError);
        expect(error).toHaveProperty("details.field", expect.any(String));
      }
    }),
    { numRuns: 800 },
  );
});
