import { expect, it } from "vitest";
import { pooledObjectBytesMax, pooledObjectBytesMin } from "../limits.ts";
import { ObjectMemory } from "./object-memory.ts";

const MiB = 2 ** 20;

it("gives memory again for objects about as long, and only then", () => {
  const memory = new ObjectMemory();
  const first = memory.take(2 * MiB - 5);
  expect(first).toHaveLength(2 * MiB - 5);
  expect(memory.take(2 * MiB).buffer).not.toBe(first.buffer);
  memory.give(first);
  expect(memory.take(MiB).buffer).not.toBe(first.buffer);
  const second = memory.take(2 * MiB - 100_000);
  expect(second).toHaveLength(2 * MiB - 100_000);
  expect(second.buffer).toBe(first.buffer);
  expect(memory.take(2 * MiB - 5).buffer).not.toBe(first.buffer);
});

it("keeps no more than its bound, and nothing small", () => {
  const memory = new ObjectMemory();
  const many = Array.from({ length: 2 + pooledObjectBytesMax / (2 * MiB) }, () => memory.take(2 * MiB));
  for (const object of many) memory.give(object);
  const kept = new Set(many.map((object) => object.buffer));
  const again = many.map(() => memory.take(2 * MiB)).filter((object) => kept.has(object.buffer));
  expect(again).toHaveLength(pooledObjectBytesMax / (2 * MiB));
  const small = memory.take(pooledObjectBytesMin - 1);
  memory.give(small);
  expect(memory.take(pooledObjectBytesMin - 1).buffer).not.toBe(small.buffer);
});
