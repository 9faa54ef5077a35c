import { expect, it } from "vitest";
import { bytesEqual } from "#core/journal/hash.ts";
import { hashChunk } from "#core/sync/hash-chunk.ts";
import { HashPool } from "./hash-pool.ts";

it("goes on with a new thread when one dies of its task", async () => {
  const pool = new HashPool(1);
  try {
    const dead = pool.hash(new ArrayBuffer(8), 64);
    const behind = pool.hash(new ArrayBuffer(8), 8);
    await expect(dead).rejects.toMatchObject({ name: "Transient" });
    await expect(behind).rejects.toMatchObject({ name: "Transient" });
    const answer = await pool.hash(new ArrayBuffer(4096), 4096);
    const { chunk, blocks } = hashChunk(new Uint8Array(4096));
    expect(bytesEqual(answer.chunk, chunk) && bytesEqual(answer.blocks, blocks)).toBe(true);
  } finally {
    await pool.close();
  }
});
