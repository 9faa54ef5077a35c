import { describe, expect, it } from "vitest";
import { GuestLog, sectorBytes, sectorOf } from "./guest-log.ts";
import { judge } from "./judge.ts";

const at = (sector: number, sectors = 1) => ({
  volume: 1,
  offset: sector * sectorBytes,
  length: sectors * sectorBytes,
});
const shows = (...ids: number[]) => new Map([[1, Buffer.concat(ids.map(sectorOf))]]);
const noon = (ms: number) => ({ earliest: ms, latest: ms });

/** Write 1 acknowledged at 10, write 2 over half of it in flight from 20 to 40, write 3 elsewhere from 50 to 60. */
function log(): GuestLog {
  const made = new GuestLog();
  made.submit(1, at(0, 2), false, 5);
  made.acknowledge(1, 10);
  made.submit(2, at(1, 2), false, 20);
  made.acknowledge(2, 40);
  made.submit(3, at(3), false, 50);
  made.acknowledge(3, 60);
  return made;
}

describe("the simulation's oracle", () => {
  it.each([
    ["nothing before the first write", 0, shows(0, 0, 0, 0), true],
    ["what was acknowledged is missing", 15, shows(0, 0, 0, 0), false],
    ["a write in flight is there", 30, shows(1, 2, 2, 0), true],
    ["a write in flight is not there", 30, shows(1, 1, 0, 0), true],
    ["a write in flight is half there, which no sector order forbids", 30, shows(1, 2, 0, 0), true],
    ["what came later is there", 30, shows(1, 2, 2, 3), false],
    ["an acknowledged write is missing behind a later one", 55, shows(1, 1, 0, 3), false],
    ["all of it", 70, shows(1, 2, 2, 3), true],
    ["a lost overwrite", 70, shows(1, 1, 2, 3), false],
    ["bytes that nobody wrote", 70, shows(1, 2, 2, 9), false],
  ] as const)("%s", (_, time, images, right) => {
    expect(judge(log(), images, noon(time)).length === 0).toBe(right);
  });

  it("holds a mixture of two writes in one sector for wrong", () => {
    const [image] = shows(1, 2, 2, 3).values();
    image?.fill(1, sectorBytes, sectorBytes + 100);
    expect(judge(log(), new Map([[1, image ?? Buffer.alloc(0)]]), noon(70))[0]).toContain("a mixture");
  });

  it("allows both where the clock that made the checkpoint was wrong, but no write without those it followed", () => {
    expect(judge(log(), shows(1, 2, 2, 0), { earliest: 15, latest: 55 })).toEqual([]);
    expect(judge(log(), shows(1, 2, 2, 3), { earliest: 15, latest: 55 })).toEqual([]);
    expect(judge(log(), shows(1, 1, 0, 3), { earliest: 15, latest: 55 })).not.toEqual([]);
  });

  it("takes a disk's loss of power for a write of what it shows again", () => {
    const made = log();
    made.fellBack(4, 1, sectorBytes, 1, 100);
    expect(judge(made, shows(1, 2, 2, 3), noon(90))).toEqual([]);
    expect(judge(made, shows(1, 1, 2, 3), noon(110))).toEqual([]);
    expect(judge(made, shows(1, 2, 2, 3), noon(110))).not.toEqual([]);
  });

  it("lets a write that was never answered show at any time until nothing of it is left on the way", () => {
    const made = new GuestLog();
    made.submit(1, at(0), false, 5);
    made.submit(2, at(0), false, 10);
    made.acknowledge(2, 12);
    expect(judge(made, shows(1), noon(20))).toEqual([]);
    const over = new GuestLog();
    over.submit(1, at(0), false, 5);
    over.end(1);
    over.submit(2, at(0), false, 10);
    over.acknowledge(2, 12);
    expect(judge(over, shows(1), noon(20))).not.toEqual([]);
  });
});
