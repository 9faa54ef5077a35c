import { describe, expect, it } from "vitest";
import { retainJournal } from "#core/retention/retain.ts";
import type { Site } from "#core/site.ts";
import { hear } from "../../test/kit/changed-terms.ts";
import { smallJournal } from "../../test/kit/small-journal.ts";
import { CheckpointBranch } from "./checkpoint-branch.ts";
import { historyOf } from "./history.ts";
import { getVpg } from "./vpg-store.ts";
import { vpgView } from "./vpg-view.ts";

const [minute, hour] = [60_000, 3_600_000];
const tiers = [
  { everyMs: 0, forMs: 2 * minute },
  { everyMs: minute, forMs: 24 * hour },
];

/** A VPG that wants an hour of history, with a look at it and runs of retention; a limit of some bytes is one that it is above. */
async function begin() {
  const world = await smallJournal();
  const definitionOf = async (site: Site, limitBytes?: number) => {
    const vpg = await getVpg(site, world.vpgId);
    const journalLimit =
      limitBytes === undefined ? {} : { journalLimit: { bytes: limitBytes, policy: "shorten" as const } };
    return {
      ...vpg,
      definition: { ...vpg.definition, historyMs: hour, retention: { tiers, taggedMs: hour, ...journalLimit } },
    };
  };
  const retain = async (limitBytes?: number) => {
    const site = world.as();
    await retainJournal(site, await definitionOf(site, limitBytes));
  };
  const look = async (limitBytes?: number) => {
    const site = world.as();
    const branch = await CheckpointBranch.open(site, world.vpgId);
    const { oldest, newest } = await branch.summary();
    const ends = {
      oldest: oldest && (await branch.scan.at(oldest.position)),
      newest: newest && (await branch.scan.at(newest.position)),
    };
    const vpg = await definitionOf(site, limitBytes);
    await hear(site, world.caller);
    const { status } = await vpgView(site, vpg);
    return { ...historyOf(vpg.definition, branch.scan, ends), status };
  };
  /** Minutes of a source that writes, with retention every quarter of an hour. */
  const live = async (minutes: number, limitBytes?: number) => {
    for (let done = 0; done < minutes; done += 15) {
      await world.write(90);
      await retain(limitBytes);
    }
  };
  return { ...world, live, look, retain };
}

describe("how far a VPG's checkpoints reach back", () => {
  it("is enough while it is young, and when its beginning was let go as the tiers say", async () => {
    const { live, look } = await begin();
    expect((await look()).dueMs).toBe(0);
    for (let quarter = 1; quarter <= 10; quarter += 1) {
      await live(15);
      const { heldMs, dueMs } = await look();
      expect(heldMs, `after ${quarter} quarters`).toBeGreaterThanOrEqual(dueMs);
      expect(dueMs).toBeGreaterThan(Math.min(quarter * 15, 54) * minute - 3 * minute);
    }
  }, 120_000);

  it("is enough where nothing was written for hours: a checkpoint shows all of an idle time", async () => {
    const { live, look, later, retain } = await begin();
    await live(30);
    await later(3 * hour);
    await retain();
    const { heldMs, dueMs, status } = await look();
    expect(heldMs).toBeGreaterThanOrEqual(dueMs);
    expect(status).toBe("MeetingSLA");
  }, 120_000);

  it("is enough where the source was away for some minutes, when those are as old as the history", async () => {
    const { live, look, later, retain, write } = await begin();
    await live(75);
    await later(5 * minute);
    await write(6 * 56);
    await retain();
    const { heldMs, status } = await look();
    expect(heldMs).toBeLessThan(58 * minute);
    expect(status).toBe("MeetingSLA");
  }, 120_000);

  it("is short when a journal limit has taken of it", async () => {
    const { live, look } = await begin();
    await live(75);
    await live(30, 1);
    const { heldMs, dueMs, status } = await look(1);
    expect(heldMs).toBeLessThan(dueMs);
    expect(status).toBe("HistoryNotMeetingSLA");
  }, 120_000);
});
