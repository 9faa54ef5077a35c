import { describe, expect, it } from "vitest";
import { latestDigest } from "#core/protection/manifests.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { agedJournal } from "../../test/kit/aged-journal.ts";
import { failOverTo, hear, journalAgain } from "../../test/kit/changed-terms.ts";
import { listed } from "../../test/kit/listing.ts";
import type { LimitPolicy } from "./policy.ts";
import { retainJournal } from "./retain.ts";

const [minute, hour] = [60_000, 3_600_000];

/** A journal of 100 batches, one in ten seconds, and runs of retention under a limit that the definition doesn't have. */
async function begin() {
  const journal = await agedJournal({ seed: 3, batches: [100] });
  const { as, vpgId } = journal;
  const run = async (
    limit: { readonly bytes: number; readonly policy: LimitPolicy },
    over: Partial<VpgRecord> = {},
  ) => {
    const record = await getVpg(as(), vpgId);
    const tiers = [
      { everyMs: 0, forMs: 2 * minute },
      { everyMs: minute, forMs: 24 * hour },
    ];
    const retention = { tiers, taggedMs: hour, journalLimit: limit };
    return retainJournal(as(), {
      ...record,
      ...over,
      definition: { ...record.definition, historyMs: hour, retention },
    });
  };
  const times = async () => (await listed(as(), vpgId)).map((line) => Number(line.split(" ")[1])).reverse();
  const pressure = async () => (await latestDigest(as(), vpgId))?.fields.pressure;
  const isFull = async () => (await getVpg(as(), vpgId)).journalFull;
  return { ...journal, run, times, pressure, isFull };
}

const [least, most] = [1000, 2 ** 30];

describe("above its limit a journal", () => {
  it("with thin has intervals twice as long with each run, and takes a step back with each when there is room", async () => {
    const { run, times, pressure, clock, source } = await begin();
    const counts: number[] = [];
    for (const step of [1, 2, 3]) {
      expect(await run({ bytes: least, policy: "thin" })).toMatchObject({ waits: null });
      expect(await pressure()).toBe(step);
      const old = (await times()).filter((time) => clock.now() - time > 4 * minute).slice(0, -1);
      const intervals = old.map((time) => Math.floor(time / (minute * 2 ** step)));
      expect(new Set(intervals).size).toBe(intervals.length);
      counts.push(old.length);
      await clock.advance(15 * minute);
      await source.write(1);
    }
    expect(counts[0]).toBeGreaterThan(counts.at(-1) ?? 0);
    for (const step of [2, 1, 0, 0]) {
      await run({ bytes: most, policy: "thin" });
      expect(await pressure()).toBe(step);
      await clock.advance(15 * minute);
      await source.write(1);
    }
  }, 120_000);

  it("with shorten has a fifth less of history with each run", async () => {
    const { run, times, pressure, clock, source } = await begin();
    for (const step of [1, 2, 3]) {
      expect(await run({ bytes: least, policy: "shorten" })).toMatchObject({ waits: null });
      expect(await pressure()).toBe(step);
      // The newest that is looked at stays until the next run.
      const [, oldest = 0] = await times();
      expect(clock.now() - oldest).toBeLessThan(hour * 0.8 ** step + 2 * minute);
      await clock.advance(15 * minute);
      for (let count = 0; count < 8; count += 1) await source.write(2);
    }
    expect((await times()).length).toBeGreaterThan(5);
  }, 120_000);

  it("with pause is full whatever retention waits for, until there is room", async () => {
    const { run, isFull, clock, source, vpgId, as, caller } = await begin();
    const pause = { bytes: least, policy: "pause" as const };
    const room = { bytes: most, policy: "pause" as const };
    const both = async (reason: string, over: Partial<VpgRecord> = {}) => {
      expect(await run(pause, over)).toMatchObject({ waits: reason });
      expect(await isFull()).toBe(true);
      expect(await run(room, over)).toMatchObject({ waits: reason });
      expect(await isFull()).toBe(false);
    };
    const [newest = ""] = (await listed(as(), vpgId)).map((line) => line.split(" ")[0] ?? "");
    const forgotten = { operationId: vpgId, kind: "failover-live", attempt: 1, startedAt: 0, known: false } as const;
    await both("operation-forgotten", { forgotten: [forgotten] });
    await clock.advance(2 * hour);
    await both("no-second-clock");
    await failOverTo(as(), vpgId, newest);
    await hear(as(), caller);
    await both("lost-tail-kept");
    await clock.advance(23 * hour);
    await journalAgain(as(), vpgId);
    source.moveTo(as());
    await source.open();
    await source.write(2);
    await both("lost-tail-kept");
    await clock.advance(hour);
    await hear(as(), caller);
    // Nothing forked in the term that began since.
    expect(await run(pause)).toMatchObject({ waits: null });
    expect(await isFull()).toBe(true);
    expect(await vpgView(as(), await getVpg(as(), vpgId))).toMatchObject({
      substatus: "ReplicationPausedSystemInitiated",
    });
  }, 120_000);

  it("with pause takes batches all the same until a reverse protection has its first checkpoint, since nobody could edit it", async () => {
    const { run, isFull, clock } = await begin();
    const pause = { bytes: least, policy: "pause" as const };
    await run(pause, { role: "Preparing" });
    expect(await isFull()).toBe(false);
    await clock.advance(15 * minute);
    await run(pause);
    expect(await isFull()).toBe(true);
  }, 120_000);
});
