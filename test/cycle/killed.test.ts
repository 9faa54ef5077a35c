/**
 * The cycle with its processes killed at random: sites and gateways die with SIGKILL and come back while the VPG is failed over, its old
 * source writes on, protection is reversed, its disks are synced, and it moves home, after a move that was undone. The seed gives what
 * is killed and when, and what is written; what a kill meets is the machine's doing, so two runs of one seed differ:
 * FARSHORE_SEED=2 npx vitest run --project whole test/cycle/killed.test.ts
 */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { checkpointSchema, type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import { endedPhases, type Phase } from "#core/protection/operation.ts";
import { exportsOf } from "../../scripts/demo/back-home.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { show, until, vm, vpg } from "../../scripts/demo/stage.ts";
import { readDisks } from "../kit/read-disks.ts";
import { SeededRandom } from "../kit/seeded-random.ts";
import { StampGuest } from "../kit/stamp-guest.ts";
import { cleanUpStages, type WholeStage, wholeStage } from "../kit/whole-stage.ts";
import { Intruder } from "./intruder.ts";
import { Killer } from "./killer.ts";

const MiB = 2 ** 20;
const asked = process.env["FARSHORE_SEED"];
const seeds = asked === undefined ? [1, Math.floor(Math.random() * 10_000)] : [Number(asked)];
const volumes = [
  { name: "data", bytes: 6 * MiB },
  { name: "log", bytes: 2 * MiB },
];
const untouched = volumes.map(({ bytes }) => Buffer.alloc(bytes));
const checkpointsLookedAt = 3;
/** From this one on a deed is left in peace. */
const triesKilled = 2;

let killer: Killer | undefined;
cleanUpStages();
// Before the stage is cleaned up: nothing may be started again behind it.
afterEach(() => killer?.stop());

type Env = WholeStage["env"];

/** Newest first. Rejects while the site is down. */
async function operationsAt(env: Env): Promise<readonly OperationView[]> {
  const headers = { authorization: `Bearer ${env["FARSHORE_TOKEN"]}` };
  const reply = await fetch(`${env["FARSHORE_SITE"]}/v1/operations`, { headers });
  return z.object({ operations: z.array(operationViewSchema) }).parse(await reply.json()).operations;
}

/** Asks until a new operation stands, whatever answers are lost, and follows it until it is in one of the phases, or over. */
async function started(
  env: Env,
  kind: OperationView["kind"],
  args: readonly string[],
  phases: readonly Phase[] = [],
): Promise<OperationView> {
  const earlier = await until("operations", 60_000, async () =>
    (await operationsAt(env)).map((one) => one.operationId),
  );
  const isNew = (one: OperationView): boolean => one.kind === kind && !earlier.includes(one.operationId);
  const { operationId } = await until(`${kind} to stand`, 120_000, async () => {
    const stands = (await operationsAt(env)).find(isNew);
    if (stands === undefined) await farshore(args, env);
    return stands;
  });
  return followed(env, operationId, phases);
}

const followed = (env: Env, operationId: string, phases: readonly Phase[] = []): Promise<OperationView> =>
  until(`operation ${operationId} to be ${[...phases, "over"].join(" or ")}`, 180_000, async () =>
    (await operationsAt(env)).find(
      (one) => one.operationId === operationId && [...phases, ...endedPhases].includes(one.phase),
    ),
  );

/** Asks for a decision until one stands, and follows the operation to its end; what ended half way is tried again, as it says. */
async function decided(env: Env, operationId: string, args: readonly string[]): Promise<OperationView> {
  await until(`${args.join(" ")} of ${operationId}`, 60_000, async () => {
    const operation = (await operationsAt(env)).find((one) => one.operationId === operationId);
    if (operation === undefined || operation.decision !== null || endedPhases.includes(operation.phase)) return true;
    await farshore([...args, vpg, "--yes"], env);
    return undefined;
  });
  return ended(env, operationId);
}

async function ended(env: Env, operationId: string): Promise<OperationView> {
  let operation = await followed(env, operationId);
  while (operation.phase === "Failed" && (await retried(env, operationId))) {
    operation = await followed(env, operationId);
  }
  return operation;
}

/** False when there is nothing left to go on with. */
const retried = (env: Env, operationId: string): Promise<boolean> =>
  until(`another attempt of ${operationId}`, 60_000, () =>
    farshore(["operation", "retry", operationId], env).then(
      () => true,
      (error: unknown) => {
        if (String(error).includes("nothing left to do")) return false;
        throw error;
      },
    ),
  );

/** What of a site's listed checkpoints, looked at offline, is no instant of the guests' writing. */
async function brokenCheckpoints(
  { directory, homeEnv }: WholeStage,
  at: "berlin" | "paris",
  random: SeededRandom,
  guests: readonly StampGuest[],
  base: readonly Buffer[],
): Promise<readonly string[]> {
  const offline = ["--offline", `${directory}/${at}`];
  const listed = z.array(checkpointSchema).parse(await farshore(["checkpoint", "list", vpg, ...offline], homeEnv));
  const picked = new Set([listed.at(0), listed.at(-1)]);
  while (picked.size < Math.min(checkpointsLookedAt, listed.length)) picked.add(listed[random.below(listed.length)]);
  const broken: string[] = [];
  for (const checkpoint of picked) {
    if (checkpoint === undefined) throw new Error(`no checkpoint is listed at ${at}`);
    for (const [index, guest] of guests.entries()) {
      const output = `${directory}/instant-${at}-${checkpoint.id}-${index}`;
      const where = ["--checkpoint", checkpoint.id, "--volume", `${vm}/${volumes[index]?.name}`, "--output", output];
      await farshore(["view", "write", vpg, ...offline, ...where], homeEnv);
      const wrong = guest.wrongBlocksOfInstant(readFileSync(output), base[index] ?? Buffer.alloc(0));
      if (wrong.length > 0) broken.push(`${at} ${checkpoint.id}, volume ${index + 1}: blocks ${wrong.join(" ")}`);
    }
  }
  return broken;
}

/** The first try, and each after one that ended in another way; the last is left in peace. */
async function tries(what: string, wanted: Phase, deed: () => Promise<OperationView>): Promise<OperationView> {
  for (let count = 1; ; count += 1) {
    const operation = await (count > triesKilled ? deed() : (killer?.during(what, deed) ?? deed()));
    if (operation.phase === wanted) return operation;
    console.info(`${what} ended as ${operation.phase}: ${operation.error?.message ?? "no error"}`);
    expect(endedPhases, what).toContain(operation.phase);
    expect(count, `${what}, left in peace`).toBeLessThanOrEqual(triesKilled);
  }
}

/** What its own state directory says of the old source: it may be down. */
const isFenced = ({ directory }: WholeStage): boolean =>
  z
    .object({ fenced: z.string().nullable() })
    .parse(JSON.parse(readFileSync(`${directory}/paris-state/source-${vpg}.json`, "utf8"))).fenced !== null;

/** What the boot hook at berlin was told last. */
const lastBoot = ({ directory }: WholeStage): unknown =>
  JSON.parse(readFileSync(`${directory}/boot.log`, "utf8").trimEnd().split("\n").at(-1) ?? "");

const writing = (guests: readonly StampGuest[]): Promise<true> => {
  const written = guests.map((guest) => guest.written);
  return until("writes", 60_000, async () =>
    guests.every((guest, index) => guest.written > (written[index] ?? 0)) ? true : undefined,
  );
};

describe("the cycle with processes killed at random", () => {
  it.each(seeds)(
    "ends in named states, with one writer and no acknowledged write lost, seed %i",
    {
      timeout: 600_000,
    },
    async (seed) => {
      const stage = await wholeStage({ volumes, checkpointInterval: "1s", bothWays: true });
      const random = new SeededRandom(seed);
      const { env, homeEnv } = stage;
      killer = new Killer(stage, random);
      const before = stage.sourceUris.map((uri, index) => new StampGuest(uri, seed + index));
      for (const guest of before) guest.start();
      await writing(before);

      const failover = (): Promise<OperationView> =>
        tries("failover", "BeforeCommit", () =>
          started(env, "failover-live", ["failover", "live", vpg], ["BeforeCommit"]),
        );
      let live = await failover();
      if (random.below(2) === 0) {
        const { operationId } = live;
        const undone = await killer.during("rollback", () => decided(env, operationId, ["failover", "rollback"]));
        expect(undone.phase).toBe("RolledBack");
        await writing(before);
        live = await failover();
      }
      const uris = exportsOf(live);
      const base = await readDisks(live, volumes);
      for (const [index, guest] of before.entries()) {
        expect(guest.wrongBlocksOfInstant(base[index] ?? Buffer.alloc(0), untouched[index] ?? Buffer.alloc(0))).toEqual(
          [],
        );
      }
      const guests = uris.map((uri, index) => new StampGuest(uri, seed + 10 + index, 0x6000_0000));
      for (const guest of guests) guest.start();
      const { operationId } = live;
      const committed = await killer.during("commit", () => decided(env, operationId, ["failover", "commit"]));
      expect(committed.phase).toBe("Completed");
      // The old source takes writes, which are nobody's, until it hears of its successor.
      await killer.during("the fence", () => until("the fence", 60_000, async () => isFenced(stage) || undefined));
      for (const guest of before) await guest.stop();
      const old = new Intruder(stage.sourceUris[0] ?? "");

      await tries("reverse protection", "Completed", async () => {
        const args = ["reverse-protection", "start", vpg];
        return ended(env, (await started(env, "reverse-protection", args)).operationId);
      });
      await tries("delta sync", "Completed", () => started(homeEnv, "delta-sync", ["sync", vpg, "--no-wait"]));
      const start = ["move", "start", vpg];
      const undoable = await tries("move", "BeforeCommit", () => started(homeEnv, "move", start, ["BeforeCommit"]));
      for (const [index, home] of (await readDisks(undoable, volumes)).entries()) {
        expect(guests[index]?.wrongBlocks(home, base[index]), `volume ${index + 1} before the commit`).toEqual([]);
      }
      const undone = await killer.during("move's rollback", () =>
        decided(homeEnv, undoable.operationId, ["move", "rollback"]),
      );
      expect(undone.phase).toBe("RolledBack");
      expect(lastBoot(stage)).toMatchObject({ FARSHORE_MODE: "source", FARSHORE_DISK_DATA: uris[0] });
      await writing(guests);
      const commit = ["--commit-policy", "commit", "--commit-after", "0"];
      const move = await tries("move home", "Completed", async () => {
        const { operationId } = await started(homeEnv, "move", [...start, ...commit]);
        return ended(homeEnv, operationId);
      });
      await old.stop();
      expect(old.refused, "times that the old source was asked").toBeGreaterThan(0);
      expect(old.accepted, "writes that the old source took").toBe(0);

      const late = new Intruder(uris[1] ?? "");
      const home = await readDisks(move, volumes);
      for (const [index, guest] of guests.entries()) {
        await guest.stop();
        expect(guest.wrongBlocks(home[index] ?? Buffer.alloc(0), base[index]), `volume ${index + 1} at home`).toEqual(
          [],
        );
      }
      expect(await brokenCheckpoints(stage, "berlin", random, before, untouched)).toEqual([]);
      expect(await brokenCheckpoints(stage, "paris", random, guests, base)).toEqual([]);
      for (const operation of [...(await operationsAt(env)), ...(await operationsAt(homeEnv))]) {
        expect(endedPhases, operation.kind).toContain(operation.phase);
      }
      expect((await show(homeEnv)).role).toBe("Runs");
      await late.stop();
      expect(late.accepted, "writes that the other site took after the move").toBe(0);
    },
  );
});
