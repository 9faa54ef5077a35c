import type { Protection } from "../protection.ts";
import type { World } from "../world.ts";
import { type Actor, toOne } from "./actor.ts";

/** After a commit the VPG is given up, and its source protected anew under the same name. */
export async function protectAnew(world: World, protection: Protection): Promise<void> {
  const { people } = world;
  const gone = await people.ask(protection.site, "DELETE", `/vpgs/${protection.vpgId}`);
  if (gone.name !== "ok" && gone.name !== "NotFound") return;
  // The person who protects the source anew has made sure that nothing of the failover runs.
  protection.recovered.running.clear();
  if ((await people.protect(protection)) !== "ok") return;
  protection.source.kill();
  protection.source.openByHand();
  await protection.source.start();
}

export const vpgs: readonly Actor[] = [
  {
    name: "protect anew",
    kind: "deed",
    weight: 6,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        if ((await protection.vpg())?.role !== "Runs") return undefined;
        world.background("protect anew", protectAnew(world, protection));
        return "is deleted and protected anew";
      }),
  },
  {
    name: "pause",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const path = `/vpgs/${protection.vpgId}`;
        world.background("pause", world.people.ask(protection.site, "POST", `${path}/pause`, {}));
        world.later(1000 + random.below(20_000), "resume", () =>
          world.people.ask(protection.site, "POST", `${path}/resume`, {}),
        );
        return "is paused for a while";
      }),
  },
  {
    name: "tag",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const path = `/vpgs/${protection.vpgId}/checkpoints`;
        world.background("tag", world.people.ask(protection.site, "POST", path, { tag: `tag ${random.below(1000)}` }));
        return "a tagged checkpoint";
      }),
  },
];
