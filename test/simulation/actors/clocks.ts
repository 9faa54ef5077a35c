import { leapsMs } from "../limits.ts";
import { type Actor, oneOf, toOne, toSite } from "./actor.ts";

const skews = [-40_000, -3000, -200, 0, 0, 150, 2000, 60_000] as const;

/**
 * Of a site's clock until somebody sets it right, as after a machine slept or began with a wrong one. Ahead it is by hours: for less
 * than one retention takes a site's clock and a source's to agree.
 */
const jumpsMs = [-3 * 3_600_000, -20 * 60_000, 3 * 3_600_000, 30 * 3_600_000] as const;
const jumpedMsMax = 60_000;

export const clocks: readonly Actor[] = [
  {
    name: "long sleep",
    kind: "fault",
    weight: 3,
    act: async (world, random) => {
      const ms = oneOf(random, leapsMs) ?? 0;
      world.clock.leap(ms);
      return { text: `all machines sleep for ${ms / 60_000} minutes`, to: world.protections };
    },
  },
  {
    name: "skew gateway",
    kind: "fault",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async ({ source, gateways }) => {
        const gateway = oneOf(random, gateways) ?? source;
        const skewMs = oneOf(random, skews) ?? 0;
        gateway.clock.skew(skewMs);
        return `the clock of ${gateway.name} is ${skewMs} ms off`;
      }),
  },
  {
    name: "site clock jumps",
    kind: "fault",
    weight: 1,
    act: (world, random) =>
      toSite(world, random, async (site) => {
        const jumpMs = oneOf(random, jumpsMs) ?? 0;
        const ms = random.below(jumpedMsMax);
        site.clock.skew(jumpMs);
        world.later(ms, "clock", () => site.clock.skew(0));
        return `its clock jumps by ${jumpMs / 60_000} minutes, and back in ${ms} ms`;
      }),
  },
  {
    name: "skew site",
    kind: "fault",
    weight: 2,
    act: (world, random) =>
      toSite(world, random, async (site) => {
        const skewMs = oneOf(random, skews) ?? 0;
        site.clock.skew(skewMs);
        return `its clock is ${skewMs} ms off`;
      }),
  },
];
