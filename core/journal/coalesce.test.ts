import { describe, expect, it } from "vitest";
import { coalesce } from "./coalesce.ts";

const kib = 1024;

function kept(...extents: readonly (readonly [volume: number, offset: number, length: number])[]): number[] {
  return Array.from(
    coalesce({
      count: extents.length,
      volume: Uint16Array.from(extents, ([volume]) => volume),
      offset: Float64Array.from(extents, ([, offset]) => offset),
      length: Uint32Array.from(extents, ([, , length]) => length),
    }),
  );
}

describe("coalesce", () => {
  it("drops what one later extent covers, on its own volume only", () => {
    expect(kept([0, 0, 4096], [0, 0, 4096])).toEqual([0, 1]);
    expect(kept([0, 0, 4096], [1, 0, 4096])).toEqual([1, 1]);
  });

  it("drops what several later extents cover together, and keeps what shows by one sector", () => {
    expect(kept([0, 512, 1024], [0, 0, 1024], [0, 1024, 512])).toEqual([0, 1, 1]);
    expect(kept([0, 512, 1536], [0, 0, 1024], [0, 1024, 512])).toEqual([1, 1, 1]);
  });

  it("sees across the borders of words and chunks", () => {
    const chunk = 512 * kib;
    expect(kept([0, chunk - 16 * kib, 32 * kib], [0, 0, chunk], [0, chunk, 16 * kib])).toEqual([0, 1, 1]);
    expect(kept([0, chunk - 16 * kib, 32 * kib], [0, 0, chunk], [0, chunk, 15 * kib + 512])).toEqual([1, 1, 1]);
  });

  it("leaves very long zeros alone, whose bitmaps would cost more than they save", () => {
    expect(kept([0, 0, 4096], [0, 0, 1024 ** 3], [0, 0, 1024 ** 3])).toEqual([1, 1, 1]);
  });

  it("keeps chunks far apart on one volume apart", () => {
    expect(kept([0, 2 ** 52, 4096], [1, 2 ** 52, 4096], [0, 0, 4096])).toEqual([1, 1, 1]);
  });
});
