import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import type { Machine } from "../machine.ts";
import type { Protection } from "../protection.ts";
import type { SimDisk } from "../sim-disk.ts";
import type { SimGateway } from "../sim-gateway.ts";
import { type Actor, oneOf, toOne, toSite } from "./actor.ts";

const downMsMax = 15_000;

/** Mostly a restart at once, sometimes a long while later. */
const downMs = (random: SeededRandom): number => (random.chance(0.6) ? random.below(1500) : random.below(downMsMax));

/** A gateway's machine loses its power: guests, gateway, and what the disks hadn't flushed. Answers what ran. */
function cutPower(gateway: SimGateway, random: SeededRandom): readonly Machine[] {
  const ran = gateway.machines.filter(({ runs }) => runs);
  gateway.kill();
  for (const { disks, vms } of gateway.machines) {
    for (const disk of disks) disk.cutPower(random);
    vms.running.clear();
  }
  return ran;
}

const disksOf = ({ machines }: Protection): readonly SimDisk[] => machines.flatMap(({ disks }) => disks);

export const processes: readonly Actor[] = [
  {
    name: "kill site",
    kind: "fault",
    weight: 5,
    act: (world, random) =>
      toSite(world, random, async (site) => {
        const ms = downMs(random);
        site.kill();
        world.later(ms, "site starts", () => site.start());
        return `killed, back in ${ms} ms`;
      }),
  },
  {
    name: "kill source",
    kind: "fault",
    weight: 5,
    act: (world, random) =>
      toOne(world, random, async ({ source }) => {
        const ms = downMs(random);
        source.kill();
        world.later(ms, "source starts", () => source.start());
        return `source gateway killed, back in ${ms} ms`;
      }),
  },
  {
    name: "kill recovery",
    kind: "fault",
    weight: 4,
    act: (world, random) =>
      toOne(world, random, async ({ recovery }) => {
        const ms = downMs(random);
        recovery.kill();
        world.later(ms, "recovery starts", () => recovery.start());
        return `recovery gateway killed, back in ${ms} ms`;
      }),
  },
  {
    name: "cut power",
    kind: "fault",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const ms = downMs(random);
        const { source, recovery } = protection;
        const gateway = oneOf(random, [source, source, recovery]) ?? source;
        const ran = cutPower(gateway, random);
        world.later(ms, "power comes back", () => {
          if (!gateway.lost) for (const { vms } of ran) vms.running.add("vm");
          return gateway.start();
        });
        return `the machine of ${gateway.name} loses its power for ${ms} ms`;
      }),
  },
  {
    name: "restart source",
    kind: "deed",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async ({ source, recovery }) => {
        const gateway = oneOf(random, [source, source, recovery]) ?? source;
        world.background(
          "restart",
          gateway.stop().then(() => gateway.start()),
        );
        return `gateway ${gateway.name} is restarted cleanly`;
      }),
  },
  {
    name: "slow disks",
    kind: "fault",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const disks = disksOf(protection);
        const slow = random.fraction();
        for (const disk of disks) disk.slow = slow;
        world.later(random.below(10_000), "disks", () => {
          for (const disk of disks) disk.slow = 0;
        });
        return `${Math.round(slow * 100)} % of disk requests are slow`;
      }),
  },
  {
    name: "failing disks",
    kind: "fault",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const disks = disksOf(protection);
        const fails = random.fraction() * 0.3;
        for (const disk of disks) disk.fails = fails;
        world.later(random.below(6000), "disks", () => {
          for (const disk of disks) disk.fails = 0;
        });
        return `${Math.round(fails * 100)} % of disk requests fail`;
      }),
  },
];
