/** The cycle with everything killed that it needs, as the tests of it play it on their own grounds. */
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { z } from "zod";
import { checkpointSchema, type OperationView, vpgViewSchema } from "#core/api/site-api.ts";
import { endedPhases } from "#core/protection/operation.ts";
import { exportsOf } from "../../scripts/demo/back-home.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { until, vm, vpg } from "../../scripts/demo/stage.ts";
import { Intruder } from "./intruder.ts";
import type { Killer } from "./killer.ts";
import { readDisks } from "./read-disks.ts";
import { SeededRandom } from "./seeded-random.ts";
import { StampGuest } from "./stamp-guest.ts";
import { type StubbornOperator, tries } from "./stubborn-operator.ts";

const checkpointsLookedAt = 3;
const endMs = 180_000;

export interface KilledCycle {
  /** Where hooks write their logs. */
  readonly directory: string;
  readonly volumes: readonly { readonly name: string; readonly bytes: number }[];
  /** What the disks hold before anybody writes. */
  readonly disks: readonly Buffer[];
  readonly sourceUris: readonly string[];
  /** The state directory of the gateway at paris. */
  readonly sourceState: string;
  readonly berlin: StubbornOperator;
  readonly paris: StubbornOperator;
  readonly killer: Killer;
  readonly seed: number;
  /** Whether the first move is undone before the VPG moves home. */
  readonly movesBack: boolean;
  /** Between two writes of a guest. */
  readonly pauseMs: number;
  /** A folder with all that a site's bucket holds now. */
  bucketOf(site: "berlin" | "paris"): Promise<string>;
}

/** From a protected VPG through a failover, a way back that is undone, to the move home; every deed of it is under kills. */
export async function playKilledCycle(cycle: KilledCycle): Promise<void> {
  const { killer, seed, volumes, berlin, paris, disks, pauseMs } = cycle;
  // Not the killer's: what is done follows from the seed alone.
  const random = new SeededRandom(seed);
  const before = cycle.sourceUris.map((uri, index) => new StampGuest(uri, seed + index, { pauseMs }));
  for (const guest of before) guest.start();
  await writing(before);
  const expectInstants = async (operation: OperationView): Promise<readonly Buffer[]> => {
    const images = await readDisks(operation, volumes);
    for (const [index, guest] of before.entries()) {
      const wrong = guest.wrongBlocksOfInstant(images[index] ?? none, disks[index] ?? none);
      expect(wrong, `volume ${index + 1}, ${operation.kind}`).toEqual([]);
    }
    return images;
  };

  const test = await tries(killer, "failover test", "TestRunning", () =>
    berlin.started("failover-test", ["failover", "test", "start", vpg], ["TestRunning"]),
  );
  await expectInstants(test);
  const stop = ["failover", "test", "stop", vpg, test.operationId, "--success", "yes"];
  const stopped = await killer.during("the test's end", () => berlin.decided(test.operationId, stop));
  expect(stopped.phase).toBe("Completed");

  const failover = (): Promise<OperationView> =>
    tries(killer, "failover", "BeforeCommit", () =>
      berlin.started("failover-live", ["failover", "live", vpg], ["BeforeCommit"]),
    );
  let live = await failover();
  if (random.below(2) === 0) {
    const { operationId } = live;
    const undone = await killer.during("rollback", () => berlin.decided(operationId, ["failover", "rollback", vpg]));
    expect(undone.phase).toBe("RolledBack");
    await writing(before);
    live = await failover();
  }
  const base = await expectInstants(live);
  const uris = exportsOf(live);
  const guests = uris.map((uri, index) => new StampGuest(uri, seed + 10 + index, { stamp: 0x6000_0000, pauseMs }));
  for (const guest of guests) guest.start();
  const { operationId } = live;
  const committed = await killer.during("commit", () => berlin.decided(operationId, ["failover", "commit", vpg]));
  expect(committed.phase).toBe("Completed");
  // The old source takes writes, which are nobody's, until it hears of its successor.
  await killer.during("the fence", () => until("the fence", 120_000, async () => isFenced(cycle) || undefined));
  for (const guest of before) await guest.stop();
  const old = new Intruder(cycle.sourceUris[0] ?? "");

  await tries(killer, "reverse protection", "Completed", async () => {
    const args = ["reverse-protection", "start", vpg];
    return berlin.ended((await berlin.started("reverse-protection", args)).operationId);
  });
  await tries(killer, "delta sync", "Completed", () => paris.started("delta-sync", ["sync", vpg, "--no-wait"]));
  const start = ["move", "start", vpg];
  if (cycle.movesBack) {
    const undoable = await tries(killer, "move", "BeforeCommit", () => paris.started("move", start, ["BeforeCommit"]));
    for (const [index, home] of (await readDisks(undoable, volumes)).entries()) {
      expect(guests[index]?.wrongBlocks(home, base[index]), `volume ${index + 1} before the commit`).toEqual([]);
    }
    const undone = await killer.during("move's rollback", () =>
      paris.decided(undoable.operationId, ["move", "rollback", vpg]),
    );
    expect(undone.phase).toBe("RolledBack");
    expect(lastBoot(cycle)).toMatchObject({ FARSHORE_MODE: "source", FARSHORE_DISK_DATA: uris[0] });
    await writing(guests);
  }
  const commit = ["--commit-policy", "commit", "--commit-after", "0"];
  const move = await tries(killer, "move home", "Completed", async () =>
    paris.ended((await paris.started("move", [...start, ...commit])).operationId),
  );
  await old.stop();
  expect(old.refused, "times that the old source was asked").toBeGreaterThan(0);
  expect(old.accepted, "writes that the old source took").toBe(0);

  const late = new Intruder(uris[1] ?? "");
  const home = await readDisks(move, volumes);
  for (const [index, guest] of guests.entries()) {
    await guest.stop();
    expect(guest.wrongBlocks(home[index] ?? none, base[index]), `volume ${index + 1} at home`).toEqual([]);
  }
  expect(await brokenCheckpoints(cycle, "berlin", random, before, disks)).toEqual([]);
  expect(await brokenCheckpoints(cycle, "paris", random, guests, base)).toEqual([]);
  // A delta-sync that a killed gateway's next session began may have a minute left: its gateway says that it has no session any more.
  await until("every operation to end", endMs, async () => {
    const open = (await Promise.all([berlin.operations(), paris.operations()]))
      .flat()
      .filter(({ phase }) => !endedPhases.includes(phase));
    if (open.length > 0) throw new Error(open.map(({ kind, phase }) => `${kind} is ${phase}`).join(", "));
    return true;
  });
  expect(vpgViewSchema.parse(await paris.farshore("vpg", "show", vpg)).role).toBe("Runs");
  await late.stop();
  expect(late.accepted, "writes that the other site took after the move").toBe(0);
}

const none = Buffer.alloc(0);

/** What of a site's listed checkpoints, read from its bucket alone, is no instant of the guests' writing. */
async function brokenCheckpoints(
  cycle: KilledCycle,
  at: "berlin" | "paris",
  random: SeededRandom,
  guests: readonly StampGuest[],
  base: readonly Buffer[],
): Promise<readonly string[]> {
  const bucket = await cycle.bucketOf(at);
  const offline = ["--offline", bucket];
  const listed = z
    .array(checkpointSchema)
    .parse(await farshore(["checkpoint", "list", vpg, ...offline, "--limit", "100000"], {}));
  const picked = new Set([listed.at(0), listed.at(-1)]);
  while (picked.size < Math.min(checkpointsLookedAt, listed.length)) {
    picked.add(listed[random.below(listed.length)]);
  }
  const broken: string[] = [];
  for (const checkpoint of picked) {
    if (checkpoint === undefined) throw new Error(`no checkpoint is listed at ${at}`);
    const looks = guests.map(async (guest, index) => {
      const output = `${cycle.directory}/instant-${at}-${checkpoint.id}-${index}`;
      const where = ["--checkpoint", checkpoint.id, "--volume", `${vm}/${cycle.volumes[index]?.name}`];
      await farshore(["view", "write", vpg, ...offline, ...where, "--output", output], {});
      const wrong = guest.wrongBlocksOfInstant(readFileSync(output), base[index] ?? none);
      if (wrong.length > 0) broken.push(`${at} ${checkpoint.id}, volume ${index + 1}: blocks ${wrong.join(" ")}`);
    });
    await Promise.all(looks);
  }
  return broken;
}

/** What its own state directory says of the old source: it may be down. */
const isFenced = ({ sourceState }: KilledCycle): boolean =>
  z
    .object({ fenced: z.string().nullable() })
    .parse(JSON.parse(readFileSync(`${sourceState}/source-${vpg}.json`, "utf8"))).fenced !== null;

/** What the boot hook at berlin was told last. */
const lastBoot = ({ directory }: KilledCycle): unknown =>
  JSON.parse(readFileSync(`${directory}/boot.log`, "utf8").trimEnd().split("\n").at(-1) ?? "");

const writing = (guests: readonly StampGuest[]): Promise<true> => {
  const written = guests.map((guest) => guest.written);
  return until("writes", 60_000, async () =>
    guests.every((guest, index) => guest.written > (written[index] ?? 0)) ? true : undefined,
  );
};
