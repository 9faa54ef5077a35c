import { describe, expect, it } from "vitest";
import { VolumeTrack } from "../tap/volume-track.ts";
import { KeptHashes } from "./kept-hashes.ts";

const MiB = 2 ** 20;
const blocks = (byte: number): Uint8Array => new Uint8Array(2048).fill(byte);

describe("KeptHashes", () => {
  it("gives each once, and only to its own volume, chunk and revision", () => {
    const kept = new KeptHashes(MiB);
    const [one, other] = [new VolumeTrack(0, 8 * MiB), new VolumeTrack(1, 8 * MiB)];
    kept.keep(one, 3, 1, blocks(1));
    kept.keep(one, 4, 1, blocks(2));
    expect(kept.take(other, 3, 1)).toBeUndefined();
    expect(kept.take(one, 5, 1)).toBeUndefined();
    expect(kept.take(one, 3, 1)).toEqual(blocks(1));
    expect(kept.take(one, 3, 1)).toBeUndefined();
    expect(kept.take(one, 4, 2)).toBeUndefined();
    expect(kept.take(one, 4, 1)).toBeUndefined();
  });

  it("keeps the newest of a chunk, and no more than its bound", () => {
    const kept = new KeptHashes(2 * 2048);
    const track = new VolumeTrack(0, 8 * MiB);
    kept.keep(track, 0, 1, blocks(1));
    kept.keep(track, 0, 2, blocks(2));
    kept.keep(track, 1, 2, blocks(3));
    kept.keep(track, 2, 2, blocks(4));
    expect(kept.take(track, 2, 2)).toBeUndefined();
    expect(kept.take(track, 0, 2)).toEqual(blocks(2));
    kept.keep(track, 2, 2, blocks(4));
    expect(kept.take(track, 2, 2)).toEqual(blocks(4));
  });
});
