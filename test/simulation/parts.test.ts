import { describe, expect, it } from "vitest";
import { tableContract } from "../contract/table.ts";
import { MemoryTable } from "../kit/memory-table.ts";
import { VirtualClock } from "../kit/virtual-clock.ts";
import { SkewedClock } from "./skewed-clock.ts";

tableContract("MemoryTable", async () => ({ table: new MemoryTable() }));

describe("parts of the simulation", () => {
  it("a table that is restored is as it was", async () => {
    const table = new MemoryTable();
    const key = { pk: "p", sk: "s" };
    await table.transact([{ put: key, fields: { n: 1 } }]);
    const backup = table.snapshot();
    await table.transact([
      { put: key, fields: { n: 2 } },
      { put: { pk: "p", sk: "t" }, fields: {} },
    ]);
    table.restore(backup);
    expect((await table.query("p")).items).toEqual([{ ...key, rev: 1, fields: { n: 1 } }]);
  });

  it("a skewed clock knows when it showed a time: once, twice, or never", async () => {
    const clock = new VirtualClock(1000);
    const skewed = new SkewedClock(clock);
    await clock.advance(100);
    expect(skewed.instantOf(1050)).toEqual({ earliest: 1050, latest: 1050 });
    skewed.skew(-80);
    await clock.advance(100);
    expect(skewed.now()).toBe(1120);
    expect(skewed.instantOf(1050)).toEqual({ earliest: 1050, latest: 1130 });
    expect(skewed.instantOf(1180)).toBeUndefined();
  });
});
