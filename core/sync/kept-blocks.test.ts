import { describe, expect, it } from "vitest";
import { chunksPerPage } from "#core/blocks/geometry.ts";
import { KeptBlocks } from "./kept-blocks.ts";

const upTo = { session: 2, sequence: 70 };
const place = (chunk: number, volume = 1, at = upTo) => ({ volume, chunk, upTo: at });
const blocks = (byte: number): Uint8Array => new Uint8Array(2048).fill(byte);

describe("KeptBlocks", () => {
  it("gives each once, and never to another position, volume or chunk", () => {
    const kept = new KeptBlocks(2 ** 20);
    kept.keep(place(3), blocks(1));
    expect(kept.take(place(4))).toBeUndefined();
    expect(kept.take(place(3, 2))).toBeUndefined();
    expect(kept.take(place(3, 1, { session: 2, sequence: 71 }))).toBeUndefined();
    expect(kept.take(place(3, 1, { session: 1, sequence: 70 }))).toBeUndefined();
    expect(kept.take(place(3))).toEqual(blocks(1));
    expect(kept.take(place(3))).toBeUndefined();
  });

  it("keeps of a volume that is compared page by page the last two pages, wherever they are", () => {
    const kept = new KeptBlocks(2 ** 20);
    const chunks = [3, 7, 9].map((page) => page * chunksPerPage + 5);
    kept.keep(place(0, 2), blocks(1));
    for (const page of [3, 7, 7, 9]) {
      kept.beginPage(1, page, upTo);
      kept.keep(place(page * chunksPerPage + 5), blocks(page));
      if (page === 7) expect(kept.take(place(3 * chunksPerPage + 5))?.[0]).toBe(3);
      kept.keep(place(3 * chunksPerPage + 5), blocks(3));
    }
    kept.beginPage(1, 9, upTo);
    expect(chunks.map((chunk) => kept.take(place(chunk))?.[0])).toEqual([undefined, 7, 9]);
    expect(kept.take(place(0, 2))?.[0]).toBe(1);
  });

  it("forgets what is of another position than what comes, and keeps no more than its bound", () => {
    const kept = new KeptBlocks(2 * 2048);
    for (const chunk of [0, 1, 2]) kept.keep(place(chunk), blocks(chunk));
    expect([0, 1, 2].map((chunk) => kept.take(place(chunk))?.[0])).toEqual([0, 1, undefined]);
    kept.keep(place(5), blocks(5));
    const later = { session: 3, sequence: 1 };
    for (const chunk of [6, 7]) kept.keep(place(chunk, 1, later), blocks(chunk));
    expect(kept.take(place(5))).toBeUndefined();
    expect([6, 7].map((chunk) => kept.take(place(chunk, 1, later))?.[0])).toEqual([6, 7]);
  });
});
