import { expect, it } from "vitest";
import { sha256 } from "#core/journal/hash.ts";
import { HashPool } from "./hash-pool.ts";

it("goes on with a new thread when one dies of its task", async () => {
  const pool = new HashPool(1);
  try {
    const dead = pool.hash(new ArrayBuffer(8), 64, "chunk");
    const behind = pool.hash(new ArrayBuffer(8), 8, "chunk");
    await expect(dead).rejects.toMatchObject({ name: "Transient" });
    await expect(behind).rejects.toMatchObject({ name: "Transient" });
    const { hashes } = await pool.hash(new ArrayBuffer(4096), 4096, "chunk");
    expect(Buffer.compare(hashes, sha256(new Uint8Array(4096)))).toBe(0);
  } finally {
    await pool.close();
  }
});
