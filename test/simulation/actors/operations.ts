import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { endForgotten } from "../forgotten.ts";
import type { Protection } from "../protection.ts";
import { type Actor, oneOf, toOne } from "./actor.ts";

/** The newest checkpoint, or any other. */
async function chosen(protection: Protection, random: SeededRandom): Promise<object> {
  if (random.chance(0.6)) return { kind: "latest" };
  const { site, vpg } = await protection.seat();
  if (vpg === undefined) return { kind: "latest" };
  const { checkpoints } = await listCheckpoints(site.seen(), vpg.vpgId, { limit: 200 });
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
        const reverses = random.chance(0.5);
        const open = await protection.openOperations();
        const found = oneOf(random, open);
        if (found === undefined) return undefined;
        const { kind, phase } = found.operation;
        if (kind === "failover-test") {
          world.background("decide", world.people.decide(found, { decision: "stop", success: true, notes: "" }));
          return `stop in ${phase}`;
        }
        const commit = { decision: "commit", reverseProtection: reverses } as const;
        world.background("decide", world.people.decide(found, commits ? commit : { decision: "rollback" }));
        return `${commits ? `commit${reverses ? " and reverse" : ""}` : "rollback"} in ${phase}`;
      }),
  },
  {
    name: "retarget",
    kind: "deed",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const checkpoint = await chosen(protection, random);
        const open = (await protection.operations()).filter(({ operation: { phase } }) => phase === "BeforeCommit");
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
        const failed = (await protection.operations()).filter(({ operation: { phase } }) => phase === "Failed");
        const operation = oneOf(random, failed);
        if (operation === undefined) return undefined;
        world.background("retry", world.people.retry(operation));
        return "retry of what failed";
      }),
  },
  {
    name: "reverse protection",
    kind: "deed",
    weight: 8,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        if ((await protection.seat()).vpg?.role !== "Runs") return undefined;
        const options = { gatewayLost: false, force: false };
        world.background("reverse", world.people.start(protection, { kind: "reverse-protection", options }));
        return "reverse protection";
      }),
  },
  {
    name: "reverse protection without the old gateway",
    kind: "deed",
    weight: 4,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const { site, vpg } = await protection.seat();
        if (vpg?.role !== "Runs" || vpg.operationId !== null) return undefined;
        const gateway = protection.gatewayAt(protection.other(site));
        const isTrue = random.chance(0.5);
        for (const machine of gateway.machines) protection.givenUp.add(machine);
        if (isTrue) gateway.lose();
        const options = { gatewayLost: true, force: false };
        world.background("reverse", world.people.start(protection, { kind: "reverse-protection", options }));
        return `reverse protection, since ${gateway.name} is said to be lost, and ${isTrue ? "is" : "is not"}`;
      }),
  },
  {
    name: "see to forgotten",
    kind: "deed",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const held = (await Promise.all(protection.sites.map((site) => protection.vpgAt(site)))).flatMap(
          (vpg) => vpg?.forgotten ?? [],
        );
        if (held.length === 0) return undefined;
        world.background("forgotten", endForgotten(world, protection));
        return `somebody sees to ${held.map(({ kind, operationId }) => `${kind} ${operationId}`).join(" and ")}`;
      }),
  },
  {
    name: "sync by hand",
    kind: "deed",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        world.background("sync", world.people.sync(protection));
        return "a sync of everything";
      }),
  },
];
