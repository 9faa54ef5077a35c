import { describe, expect, it } from "vitest";
import { InvalidInput } from "#core/errors.ts";
import { ratesOf } from "./rates.ts";

const at = (writtenBytes: number, shippedBytes: number, mode = "replicating") => ({ mode, writtenBytes, shippedBytes });

describe("rates between two looks", () => {
  it("are what the counters gained", () => {
    expect(ratesOf(at(1000, 500), at(61_000, 12_500), 60_000)).toEqual({
      elapsedMs: 60_000,
      writtenBytesPerSecond: 1000,
      shippedBytesPerSecond: 200,
    });
  });

  it.each([
    ["a new session", at(1000, 500), at(0, 0)],
    ["a sync at the start", at(0, 0, "initial-sync"), at(1, 1)],
    ["a sync at the end", at(0, 0), at(1, 1, "bitmap-sync")],
    ["a pause", at(0, 0), at(0, 0, "paused")],
  ])("are refused with %s between", (_, first, last) => {
    expect(() => ratesOf(first, last, 60_000)).toThrow(InvalidInput);
  });
});
