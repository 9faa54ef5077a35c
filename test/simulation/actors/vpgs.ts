import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { limitPolicies } from "#core/retention/policy.ts";
import { leastLimitBytes } from "../large-journals.ts";
import { sectorOf } from "../oracle/guest-log.ts";
import type { Protection } from "../protection.ts";
import type { World } from "../world.ts";
import { type Actor, oneOf, toOne } from "./actor.ts";

/** The VPG was failed over for the first time, and its old disks are whole: nothing was offered to their site. */
export async function mayBeProtectedAnew(protection: Protection): Promise<boolean> {
  const { site, vpg } = await protection.seat();
  if (site !== protection.home || vpg?.role !== "Runs" || vpg.operationId !== null) return false;
  return !protection.source.lost && (await protection.vpgAt(protection.away)) === undefined;
}

/** After a commit the VPG is given up, and its source protected anew under the same name. */
export async function protectAnew(world: World, protection: Protection): Promise<void> {
  const { people } = world;
  const { source, recovery, home, vpgId, name } = protection;
  if (source.lost) return;
  const gone = await people.patiently(home, "DELETE", `/vpgs/${vpgId}`);
  if (gone !== "ok" && gone !== "NotFound") return;
  // The person who protects the source anew has made sure that nothing of the failover runs.
  for (const { vms } of recovery.recovered.machines) vms.running.clear();
  if ((await people.protect(protection)) !== "ok") return;
  source.kill();
  source.openByHand(name);
  await source.start();
}

/** The disks of the configuration are captured: only these change while the VPG lives. */
async function runsOnFirstDisks(protection: Protection): Promise<boolean> {
  const { site, vpg } = await protection.seat();
  return site === protection.home && vpg?.role === "Journal" && vpg.term === 1;
}

/** The definition says what the configuration says, a while after somebody has changed that. */
function editLater(world: World, protection: Protection, random: SeededRandom): void {
  world.later(random.below(6000), "edit", () => world.people.edit(protection));
}

const grownBytes = 64 * 1024;
const volumeBytesMax = 1024 * 1024;

export const vpgs: readonly Actor[] = [
  {
    name: "grow a volume",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const disk = oneOf(random, protection.configured);
        if (disk === undefined || disk.sizeBytes >= volumeBytesMax) return undefined;
        if (!(await runsOnFirstDisks(protection))) return undefined;
        const id = world.nextWrite();
        const { log } = protection.first;
        log.submit(id, { volume: disk.volume, offset: disk.sizeBytes, length: grownBytes }, false, world.clock.now());
        log.acknowledge(id, world.clock.now());
        disk.grow(Buffer.alloc(grownBytes, sectorOf(id)));
        editLater(world, protection, random);
        return `${disk.name} is grown to ${disk.sizeBytes} bytes`;
      }),
  },
  {
    name: "add or remove a volume",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        if (!(await runsOnFirstDisks(protection))) return undefined;
        const removed = protection.file.delete("extra");
        if (!removed) protection.file.add("extra");
        editLater(world, protection, random);
        return `the volume extra is ${removed ? "removed" : "added"}`;
      }),
  },
  {
    name: "journal limit",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const policy = oneOf(random, limitPolicies) ?? "thin";
        const isTaken = random.chance(0.3);
        const { site, vpg } = await protection.seat();
        if (vpg?.role !== "Journal") return undefined;
        const limit = isTaken ? undefined : { bytes: leastLimitBytes, policy };
        world.background("limit", world.people.limit(protection, site, limit));
        return limit === undefined ? "its journal has no limit" : `its journal has a limit, then ${policy}`;
      }),
  },
  {
    name: "protect anew",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        if (!(await mayBeProtectedAnew(protection))) return undefined;
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
        const { site } = await protection.seat();
        world.background("pause", world.people.ask(site, "POST", `${path}/pause`, {}));
        world.later(1000 + random.below(20_000), "resume", () => world.people.ask(site, "POST", `${path}/resume`, {}));
        return "is paused for a while";
      }),
  },
  {
    name: "open view",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const { site, vpg } = await protection.seat();
        if (vpg === undefined) return undefined;
        const { checkpoints } = await listCheckpoints(site.seen(), vpg.vpgId, { limit: 200 });
        const checkpoint = oneOf(random, checkpoints);
        if (checkpoint === undefined) return undefined;
        world.background("view", world.people.lease(site, vpg.vpgId, checkpoint.id, random));
        return `a view of checkpoint ${checkpoint.id}`;
      }),
  },
  {
    name: "tag",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const path = `/vpgs/${protection.vpgId}/checkpoints`;
        const { site } = await protection.seat();
        world.background("tag", world.people.ask(site, "POST", path, { tag: `tag ${random.below(1000)}` }));
        return "a tagged checkpoint";
      }),
  },
];
