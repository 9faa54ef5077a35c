import { expect, it } from "vitest";
import { limitText } from "./gateway.ts";

it.each([
  [null, null, "no limit"],
  [20_000_000, 20_000_000, "at most 20 MB/s"],
  [null, 300_000, "no limit; but its configuration's schedule says at most 300 kB/s now"],
  [20_000_000, 300_000, "at most 20 MB/s; but its configuration's schedule says at most 300 kB/s now"],
])("an order of %s, where %s holds, is told as %o", (bytesPerSecond, nowBytesPerSecond, text) => {
  expect(limitText({ bytesPerSecond, nowBytesPerSecond })).toBe(text);
});
