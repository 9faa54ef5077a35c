import { describe, expect, it } from "vitest";
import { FarshoreError } from "#core/errors.ts";
import { sampleBatch, tampered } from "../../test/kit/batches.ts";
import type { BarrierEvent } from "./batch.ts";
import { decodeHeader } from "./decode.ts";
import { viewOf } from "./fixed-header.ts";
import { at, fixedHeaderBytes, recordAt, recordBytes } from "./layout.ts";
import { componentsMax, objectBytesMax, tagBytesMax, textBytesMax } from "./limits.ts";

const barrier: BarrierEvent = {
  kind: "barrier",
  sequence: 9,
  time: 5,
  tag: "t",
  vector: [
    { session: 1, sequence: 8 },
    { session: 4, sequence: 2 ** 53 - 1 },
  ],
};
const encode = (over: Partial<BarrierEvent> = {}): Uint8Array =>
  sampleBatch({ firstSequence: 1, events: [{ ...barrier, ...over }] });
const object = encode();
const text = fixedHeaderBytes + recordBytes;

function refusal(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    if (error instanceof FarshoreError) return [error.name, error.details["field"]];
    throw error;
  }
  return "accepted";
}

describe("barrier records", () => {
  it("come back as they were, the longest too, and mark their batch as not for readers of 1.0", () => {
    const longest = {
      tag: "x".repeat(tagBytesMax),
      vector: Array.from({ length: componentsMax }, (_, index) => ({ session: index + 1, sequence: 1 })),
    };
    for (const over of [{}, longest]) {
      const bytes = encode(over);
      expect(decodeHeader(bytes).events).toEqual([{ ...barrier, ...over }]);
      expect([viewOf(bytes).getUint16(at.minor, true), viewOf(bytes).getUint32(at.criticalFlags, true)]).toEqual([
        1, 1,
      ]);
    }
    expect(viewOf(encode(longest)).getUint32(at.textLength, true)).toBe(textBytesMax);
    expect(Math.ceil(objectBytesMax / 3) * 4).toBeLessThan(6 * 2 ** 20);
  });

  it("leave batches without them as they always were", () => {
    const plain = sampleBatch({ events: [{ kind: "marker", sequence: 1, time: 0, tag: "" }] });
    expect([viewOf(plain).getUint16(at.minor, true), viewOf(plain).getUint32(at.criticalFlags, true)]).toEqual([0, 0]);
    const longTag = tampered(encode({ vector: barrier.vector, tag: "x".repeat(tagBytesMax) }), (view) =>
      view.setUint32(at.criticalFlags, 0, true),
    );
    expect(refusal(() => decodeHeader(longTag))).toEqual(["MalformedBatch", "textLength"]);
  });

  const many = Array.from({ length: componentsMax + 1 }, (_, index) => ({ session: index + 1, sequence: 1 }));
  it.each<[string, Partial<BarrierEvent>]>([
    ["one component", { vector: barrier.vector.slice(0, 1) }],
    ["too many", { vector: many }],
    ["the wrong order", { vector: [...barrier.vector].reverse() }],
    ["a session twice", { vector: [{ session: 1, sequence: 8 }, ...barrier.vector] }],
    ["none of its own session", { vector: [2, 3].map((session) => ({ session, sequence: 1 })) }],
    ["its own hold behind it", { vector: [{ session: 1, sequence: 9 }, ...barrier.vector.slice(1)] }],
    [
      "a sequence of 0",
      {
        vector: [
          { session: 1, sequence: 8 },
          { session: 4, sequence: 0 },
        ],
      },
    ],
  ])("are refused with %s", (_, over) => {
    expect(refusal(() => encode(over))).toEqual(["MalformedBatch", "records.vector"]);
  });

  it.each<[string, string, (view: DataView) => void]>([
    ["a count beyond the text", "records.vector", (view) => view.setUint16(text, 60, true)],
    ["reserved bits", "records.vector", (view) => view.setUint8(text + 2, 1)],
    ["a sequence above 2^53-1", "records.vector", (view) => view.setUint32(text + 4 + 8, 0x20_0000, true)],
    ["sessions that don't ascend", "records.vector", (view) => view.setUint32(text + 4 + 12, 1, true)],
    ["a tag that is not UTF-8", "records.tag", (view) => view.setUint8(text + 4 + 24, 0xff)],
    ["a volume", "records.volume", (view) => view.setUint16(fixedHeaderBytes + recordAt.volume, 1, true)],
    ["the flag away", "criticalFlags", (view) => view.setUint32(at.criticalFlags, 0, true)],
    ["a hold's kind", "records.length", (view) => view.setUint8(fixedHeaderBytes + recordAt.kind, 9)],
  ])("are refused with %s", (_, field, change) => {
    expect(refusal(() => decodeHeader(tampered(object, change)))).toEqual(["MalformedBatch", field]);
  });
});
