/**
 * The cycle with its processes killed at random: sites and gateways die with SIGKILL and come back while the VPG is tried and failed
 * over, its old source writes on, protection is reversed, its disks are synced, and it moves home, after a move that was undone. The
 * seed gives what is killed and when, and what is written; what a kill meets is the machine's doing, so two runs of one seed differ:
 * FARSHORE_SEED=2 npx vitest run --project whole test/cycle/killed.test.ts
 */
import { afterEach, describe, it } from "vitest";
import { z } from "zod";
import { operationViewSchema } from "#core/api/site-api.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { playKilledCycle } from "../kit/killed-cycle.ts";
import { Killer, processVictim } from "../kit/killer.ts";
import { SeededRandom } from "../kit/seeded-random.ts";
import { StubbornOperator } from "../kit/stubborn-operator.ts";
import { cleanUpStages, type WholeStage, wholeStage } from "../kit/whole-stage.ts";

const MiB = 2 ** 20;
const asked = process.env["FARSHORE_SEED"];
const seeds = asked === undefined ? [1, Math.floor(Math.random() * 10_000)] : [Number(asked)];
const volumes = [
  { name: "data", bytes: 4 * MiB },
  { name: "log", bytes: 2 * MiB },
  { name: "index", bytes: MiB },
  { name: "queue", bytes: 640 * 1024 },
  { name: "boot", bytes: 384 * 1024 },
];

let killer: Killer | undefined;
cleanUpStages();
// Before the stage is cleaned up: nothing may be started again behind it.
afterEach(() => killer?.stop());

const operatorOf = (env: WholeStage["env"]): StubbornOperator =>
  new StubbornOperator({
    async operations() {
      const headers = { authorization: `Bearer ${env["FARSHORE_TOKEN"]}` };
      const reply = await fetch(`${env["FARSHORE_SITE"]}/v1/operations`, { headers });
      return z.object({ operations: z.array(operationViewSchema) }).parse(await reply.json()).operations;
    },
    farshore: (...args) => farshore(args, env),
  });

describe("the cycle with processes killed at random", () => {
  it.each(seeds)(
    "ends in named states, with one writer and no acknowledged write lost, seed %i",
    {
      timeout: 600_000,
    },
    async (seed) => {
      const stage = await wholeStage({ volumes, checkpointInterval: "1s", bothWays: true });
      const random = new SeededRandom(seed);
      const { directory, restart, sourceUris } = stage;
      const victims = [
        processVictim(stage, "site-berlin", restart.site),
        processVictim(stage, "site-paris", restart.home),
        processVictim(stage, "gateway-paris", restart.source),
        processVictim(stage, "gateway-berlin", restart.recovery),
      ];
      killer = new Killer(victims, random);
      await playKilledCycle({
        ...{ directory, volumes, sourceUris, killer, seed },
        disks: volumes.map(({ bytes }) => Buffer.alloc(bytes)),
        sourceState: `${directory}/paris-state`,
        berlin: operatorOf(stage.env),
        paris: operatorOf(stage.homeEnv),
        movesBack: true,
        pauseMs: 0,
        bucketOf: async (site) => `${directory}/${site}`,
      });
    },
  );
});
