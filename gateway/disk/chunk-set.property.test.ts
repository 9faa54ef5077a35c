import fc from "fast-check";
import { expect, it } from "vitest";
import { holds } from "../../test/kit/property.ts";
import { ChunkSet } from "./chunk-set.ts";

const sizeBytes = 10_250;
const grainBytes = 100;
const range = fc
  .tuple(fc.nat(sizeBytes - 1), fc.nat(3000))
  .map(([offset, length]) => ({ offset, length: Math.min(length, sizeBytes - offset) }));

function runsOf(set: ChunkSet): readonly (readonly [number, number])[] {
  const runs: [number, number][] = [];
  set.forEachRun((offset, length) => runs.push([offset, length]));
  return runs;
}

it("visits the runs of a model set, cut to the disk, and is empty after clear", async () => {
  await holds(
    fc.property(fc.array(range), fc.array(range), (first, second) => {
      const set = new ChunkSet(sizeBytes, grainBytes);
      const other = new ChunkSet(sizeBytes, grainBytes);
      const model = new Set<number>();
      for (const [target, ranges] of [[set, first] as const, [other, second] as const]) {
        for (const { offset, length } of ranges) {
          target.add(offset, length);
          for (let byte = offset; byte < offset + length; byte++) {
            model.add(Math.floor(byte / grainBytes));
          }
        }
      }
      set.addAll(other);
      const covered = new Set<number>();
      let end = -1;
      for (const [offset, length] of runsOf(set)) {
        expect(offset).toBeGreaterThan(end);
        expect(length).toBeGreaterThan(0);
        end = offset + length;
        expect(end).toBeLessThanOrEqual(sizeBytes);
        for (let byte = offset; byte < end; byte += grainBytes) {
          covered.add(Math.floor(byte / grainBytes));
        }
      }
      expect(covered).toEqual(model);
      expect(set.isEmpty).toBe(model.size === 0);
      set.clear();
      expect(runsOf(set)).toEqual([]);
    }),
  );
});
