import { closeSync, openSync, writeSync } from "node:fs";

/** Where the changes of a disk are: blocks of 4 KiB spread over all of it, or runs of 1 MiB. */
export type Pattern = "at random" | "in clusters";

const blockBytes: Readonly<Record<Pattern, number>> = { "at random": 4096, "in clusters": 2 ** 20 };

/** Writes over that share of a disk's file, behind the back of whoever serves it, the same places for the same seed. Answers the bytes written. */
export function changeDisk(path: string, bytes: number, pattern: Pattern, share: number, seed: number): number {
  const length = blockBytes[pattern];
  const block = Buffer.alloc(length);
  const places = bytes / length;
  const wanted = Math.round(places * share);
  const chosen = new Set<number>();
  let state = seed;
  const next = (): number => {
    // A linear congruential generator modulo 2^32 (Numerical Recipes): which blocks they are matters little.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state;
  };
  while (chosen.size < wanted) chosen.add(Math.floor((next() / 2 ** 32) * places));
  const fd = openSync(path, "r+");
  for (const place of chosen) {
    for (let at = 0; at < length; at += 4) block.writeUInt32LE(next(), at);
    writeSync(fd, block, 0, length, place * length);
  }
  closeSync(fd);
  return wanted * length;
}
