import { describe, expect, it } from "vitest";
import { concurrently } from "./concurrently.ts";
import { LoadingCache } from "./loading-cache.ts";

describe("LoadingCache", () => {
  it("drops what was used longest ago, and never holds more than its bound", async () => {
    const cache = new LoadingCache<number>(10, (value) => value);
    for (const key of [4, 5]) await cache.get(key, async () => key);
    expect([cache.peek(4), cache.weight]).toEqual([4, 9]);
    await cache.get(3, async () => 3);
    expect([cache.peek(5), cache.peek(4), cache.peek(3), cache.weight]).toEqual([undefined, 4, 3, 7]);
    expect(await cache.get(11, async () => 11)).toBe(11);
    expect([cache.peek(11), cache.weight]).toEqual([undefined, 0]);
  });
});

describe("concurrently", () => {
  it("keeps its limit, and fails only when all under way have ended", async () => {
    let running = 0;
    let most = 0;
    const act = async (item: number): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await Promise.resolve();
      running -= 1;
      if (item === 3) throw new RangeError("three");
    };
    await expect(concurrently([1, 2, 3, 4, 5, 6], 2, act)).rejects.toThrow("three");
    expect([running, most]).toEqual([0, 2]);
    await concurrently([], 2, act);
  });
});
