import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { hasEnded } from "#core/recovery/operation-store.ts";
import type { Protection } from "../protection.ts";
import { type Actor, oneOf, toOne } from "./actor.ts";

/** The newest checkpoint, or any other. */
async function chosen(protection: Protection, random: SeededRandom): Promise<object> {
  if (random.chance(0.6)) return { kind: "latest" };
  const { checkpoints } = await listCheckpoints(protection.site.seen(), protection.vpgId, { limit: 200 });
  const checkpoint = oneOf(random, checkpoints);
  return checkpoint === undefined ? { kind: "latest" } : { kind: "id", id: checkpoint.id };
}

const policies = [
  { action: "none" },
  { action: "none" },
  { action: "rollback", afterMs: 15_000 },
  { action: "commit", afterMs: 10_000 },
] as const;

export const operations: readonly Actor[] = [
  {
    name: "failover live",
    kind: "deed",
    weight: 5,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const policy = oneOf(random, ["none", "none", "force", "graceful"] as const) ?? "none";
        const commitPolicy = oneOf(random, policies) ?? { action: "none" };
        const options = {
          checkpoint: await chosen(protection, random),
          shutdown: { policy, graceMs: 5000 },
          commitPolicy,
        };
        world.background("failover", world.people.start(protection, { kind: "failover-live", options }));
        return `failover live, shutdown ${policy}, then ${commitPolicy.action}`;
      }),
  },
  {
    name: "failover test",
    kind: "deed",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const options = { checkpoint: await chosen(protection, random) };
        world.background("test", world.people.start(protection, { kind: "failover-test", options }));
        return "failover test";
      }),
  },
  {
    name: "move",
    kind: "deed",
    weight: 4,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const commitPolicy = oneOf(random, policies) ?? { action: "none" };
        const verify = random.chance(0.3);
        const options = { graceMs: 5000, commitPolicy, source: "keep", verify };
        world.background("move", world.people.start(protection, { kind: "move", options }));
        return `move${verify ? ", verified" : ""}, then ${commitPolicy.action}`;
      }),
  },
  {
    name: "decide",
    kind: "deed",
    weight: 8,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const commits = random.chance(0.35);
        const open = (await protection.operations()).filter((operation) => !hasEnded(operation));
        const operation = oneOf(random, open);
        if (operation === undefined) return undefined;
        const decision = operation.kind === "failover-test" ? "stop" : commits ? "commit" : "rollback";
        world.background("decide", world.people.decide(protection, operation, decision));
        return `${decision} in ${operation.phase}`;
      }),
  },
  {
    name: "retarget",
    kind: "deed",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const checkpoint = await chosen(protection, random);
        const open = (await protection.operations()).filter(({ phase }) => phase === "BeforeCommit");
        const operation = oneOf(random, open);
        if (operation === undefined) return undefined;
        world.background("retarget", world.people.retarget(protection, operation, checkpoint));
        return "retarget to another checkpoint";
      }),
  },
  {
    name: "retry",
    kind: "deed",
    weight: 4,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const failed = (await protection.operations()).filter(({ phase }) => phase === "Failed");
        const operation = oneOf(random, failed);
        if (operation === undefined) return undefined;
        world.background("retry", world.people.retry(protection, operation));
        return "retry of what failed";
      }),
  },
];
