import { describe, expect, it } from "vitest";
import { NotFound } from "#core/errors.ts";
import type { ByteRange } from "#core/ports.ts";
import { CoalescedReads } from "./coalesced-reads.ts";
import { coalescedBytesMax } from "./limits.ts";

function world() {
  const asked: string[] = [];
  const object = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251);
  const reads = new CoalescedReads({
    get: async (key: string, range?: ByteRange) => {
      asked.push(range === undefined ? key : `${key} ${range.offset}+${range.length}`);
      if (key === "gone") throw new NotFound("gone");
      return range === undefined ? object : object.subarray(range.offset, range.offset + range.length);
    },
  });
  const get = (key: string, offset: number, length: number) => reads.get(key, { offset, length });
  return { asked, object, reads, get };
}

describe("coalesced reads", () => {
  it("reads neighbours of one object at once, whatever their order, and nothing else with them", async () => {
    const { asked, object, get, reads } = world();
    const ranges = [
      [300, 100],
      [0, 100],
      [100, 200],
      [50_000, 10],
    ] as const;
    const all = await Promise.all([...ranges.map(([at, length]) => get("a", at, length)), get("b", 5, 5)]);
    ranges.forEach(([at, length], index) => {
      expect(all[index]).toEqual(object.subarray(at, at + length));
    });
    expect(asked).toEqual(["a 0+400", "a 50000+10", "b 5+5"]);
    expect(await reads.get("a")).toEqual(object);
  });

  it("cuts each answer at the object's end", async () => {
    const { object, get } = world();
    const [last, beyond] = await Promise.all([get("a", 99_990, 100), get("a", 99_980, 15)]);
    expect(last).toEqual(object.subarray(99_990));
    expect(beyond).toEqual(object.subarray(99_980, 99_995));
  });

  it("bounds what it reads at once", async () => {
    const { asked, get } = world();
    const half = coalescedBytesMax / 2;
    await Promise.all([get("a", 0, half), get("a", half, half), get("a", 2 * half, half)]);
    expect(asked).toEqual([`a 0+${2 * half}`, `a ${2 * half}+${half}`]);
  });

  it("gives a failure to all who asked together, and starts afresh", async () => {
    const { get } = world();
    const results = await Promise.allSettled([get("gone", 0, 1), get("gone", 1, 1), get("a", 0, 1)]);
    expect(results.map((result) => result.status)).toEqual(["rejected", "rejected", "fulfilled"]);
    expect(await get("a", 1, 1)).toEqual(Uint8Array.of(1));
  });
});
