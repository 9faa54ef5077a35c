import { expect, it } from "vitest";
import { z } from "zod";
import { parseInput } from "./json.ts";

const schema = z.strictObject({
  graceMs: z.int().max(3_600_000).exactOptional(),
  bytesPerSecond: z.int().min(10_000).exactOptional(),
  sizeBytes: z
    .number()
    .max(2 ** 40)
    .exactOptional(),
  journalLimit: z.strictObject({ bytes: z.int().min(2 ** 26) }).exactOptional(),
  priority: z.int().min(1).exactOptional(),
  tag: z.string().min(1).max(128).exactOptional(),
  vms: z.array(z.string()).max(2).exactOptional(),
});

it.each([
  [{ graceMs: 9e9 }, "graceMs: must be at most 1h"],
  [{ bytesPerSecond: 1000 }, "bytesPerSecond: must be at least 10 kB/s"],
  [{ sizeBytes: 2 ** 41 }, "sizeBytes: must be at most 1.00 TiB"],
  [{ journalLimit: { bytes: 1 } }, "journalLimit.bytes: must be at least 64.0 MiB"],
  [{ priority: 0 }, "priority: must be at least 1"],
  [{ tag: "" }, "tag: must have at least 1 characters"],
  [{ vms: ["a", "b", "c"] }, "vms: must have at most 2 entries"],
  [{ other: 1 }, 'Unrecognized key: "other"'],
])("says of %j what its bound is, as people write it", (value, message) => {
  expect(() => parseInput(schema, value)).toThrow(message);
});
