import { describe, expect, it } from "vitest";
import { chunkBytes, pageBytes, sectorsPerChunk } from "#core/blocks/geometry.ts";
import { decodeHeader } from "#core/journal/decode.ts";
import type { Position } from "#core/journal/position.ts";
import { patterned, type SampleBatch, sampleBatch } from "../../test/kit/batches.ts";
import { ChunkPainter, type ChunkRuns } from "./chunk-painter.ts";
import { type PageIndex, PageIndexBuilder } from "./page-index.ts";

function indexOf(page: number, upTo: Position, ...batches: readonly SampleBatch[]): PageIndex {
  const builder = new PageIndexBuilder(0, page, upTo);
  for (const [number, batch] of batches.entries()) builder.add(decodeHeader(sampleBatch(batch)), number);
  return builder.build();
}

const write = (sequence: number, offset: number, length = 512) => ({ sequence, offset, bytes: patterned(length, 1) });
const end: Position = { session: 9, sequence: 1 };

describe("a page index", () => {
  it("takes records at the position and none behind it, in its session or a later one", () => {
    const batches = [
      { session: 1, extents: [write(1, 0), write(2, 512), write(3, 1024)] },
      { session: 2, extents: [write(1, 1536)] },
    ];
    expect([...indexOf(0, { session: 1, sequence: 2 }, ...batches).start]).toEqual([0, 1]);
    expect([...indexOf(0, { session: 1, sequence: 3 }, ...batches).start]).toEqual([0, 1, 2]);
    expect([...indexOf(0, { session: 2, sequence: 0 }, ...batches).start]).toEqual([0, 1, 2]);
    expect([...indexOf(0, { session: 2, sequence: 1 }, ...batches).start]).toEqual([0, 1, 2, 3]);
  });

  it("cuts records at the page's borders and takes those of its volume", () => {
    const batch = { extents: [write(1, pageBytes - 1024, 4096), { ...write(2, pageBytes), volume: 1 }] };
    const [first, second] = [indexOf(0, end, batch), indexOf(1, end, batch)];
    expect([[...first.start], [...first.sectors], [...first.frameOffset]]).toEqual([[pageBytes / 512 - 2], [2], [0]]);
    expect([[...second.start], [...second.sectors], [...second.frameOffset]]).toEqual([[0], [6], [1024]]);
    expect(indexOf(2, end, batch).count).toBe(0);
  });

  it("resolves wide and narrow records by age alone", () => {
    const extents = [
      write(1, 0, 1024),
      { sequence: 1, offset: 0, zero: 8 * chunkBytes },
      write(1, 512, 1024),
      { sequence: 1, offset: 1024, zero: 4 * chunkBytes },
      write(1, 5 * chunkBytes - 512, 1024),
    ];
    const index = indexOf(0, end, ...extents.map((extent, at) => ({ session: at + 1, extents: [extent] })));
    const runs = (chunk: number): ChunkRuns => {
      const painter = new ChunkPainter();
      index.paint(chunk, painter);
      return painter.runs();
    };
    expect(runs(0)).toMatchObject({ count: 1, sector: Uint16Array.of(1), sectors: Uint16Array.of(1) });
    expect([...runs(0).batch, ...runs(4).batch, ...runs(5).batch]).toEqual([2, 4, 4]);
    expect([1, 2, 3, 6, 7, 8].map((chunk) => runs(chunk).count)).toEqual([0, 0, 0, 0, 0, 0]);
    expect([...runs(4).sector, ...runs(5).sector]).toEqual([sectorsPerChunk - 1, 0]);
    expect([...runs(4).frameOffset, ...runs(5).frameOffset]).toEqual([0, 512]);
  });

  it("takes at most 32 bytes for each of many records", () => {
    const builder = new PageIndexBuilder(0, 0, end);
    const extents = Array.from({ length: 8000 }, (_, at) => ({ sequence: at + 1, offset: at * 65_536, zero: 4096 }));
    const header = decodeHeader(sampleBatch({ extents }));
    for (let number = 0; number < 12; number += 1) builder.add(header, number);
    const index = builder.build();
    expect(index.count).toBe(96_000);
    expect(index.bytes / index.count).toBeLessThan(32);
  });
});
