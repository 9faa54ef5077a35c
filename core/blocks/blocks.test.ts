import { describe, expect, it } from "vitest";
import { chunkBytes, chunkCount, chunkOf, pageBytes, pageCount, pageOf } from "./geometry.ts";
import { isZero } from "./zeros.ts";

describe("geometry", () => {
  it("counts short last chunks and pages", () => {
    expect([chunkCount(1), chunkCount(chunkBytes), chunkCount(chunkBytes + 1)]).toEqual([1, 1, 2]);
    expect([pageCount(0), pageCount(pageBytes), pageCount(pageBytes + 512)]).toEqual([0, 1, 2]);
    expect([pageOf(pageBytes - 1), pageOf(pageBytes), chunkOf(chunkBytes)]).toEqual([0, 1, 1]);
    expect(pageBytes).toBe(1024 ** 3);
  });
});

describe("isZero", () => {
  it("looks at every byte, whatever the length", () => {
    for (const length of [0, 1, 511, 65_536, 65_537, 524_288]) {
      const bytes = new Uint8Array(length);
      expect(isZero(bytes)).toBe(true);
      if (length === 0) continue;
      bytes[length - 1] = 1;
      expect(isZero(bytes)).toBe(false);
      expect(isZero(bytes.subarray(0, length - 1))).toBe(true);
    }
  });
});
