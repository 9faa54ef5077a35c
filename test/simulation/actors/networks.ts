import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { fairWeather, type Link } from "../link.ts";
import type { Protection } from "../protection.ts";
import type { World } from "../world.ts";
import { type Actor, oneOf, toOne } from "./actor.ts";

/** Mostly between a gateway and the site that it replicates to. */
function linkOf(random: SeededRandom, { source, recovery }: Protection, { peerLinks }: World): readonly [string, Link] {
  const { name, own, remote } = oneOf(random, [source, source, recovery]) ?? source;
  const links = [remote, remote, own].map(({ site, link }) => [`${name} to ${site.name}`, link] as const);
  const peers = peerLinks.map((link) => ["the sites to each other", link] as const);
  return oneOf(random, [...links, ...peers]) ?? [name, remote.link];
}

export const networks: readonly Actor[] = [
  {
    name: "cut link",
    kind: "fault",
    weight: 5,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const [name, link] = linkOf(random, protection, world);
        const ms = random.chance(0.5) ? random.below(3000) : random.below(40_000);
        link.cut = true;
        world.later(ms, "link", () => {
          link.cut = false;
        });
        return `the link of ${name} is cut for ${ms} ms`;
      }),
  },
  {
    name: "lose messages",
    kind: "fault",
    weight: 4,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const [name, link] = linkOf(random, protection, world);
        link.weather = { ...fairWeather, losesRequest: random.fraction() * 0.4, losesReply: random.fraction() * 0.4 };
        world.later(random.below(20_000), "link", () => {
          link.weather = fairWeather;
        });
        return `the link of ${name} loses messages`;
      }),
  },
  {
    name: "delay messages",
    kind: "fault",
    weight: 4,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const [name, link] = linkOf(random, protection, world);
        link.weather = { ...fairWeather, delayMsMax: random.below(4000) };
        world.later(random.below(20_000), "link", () => {
          link.weather = fairWeather;
        });
        return `the link of ${name} is slow and reorders`;
      }),
  },
  {
    name: "duplicate messages",
    kind: "fault",
    weight: 4,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const [name, link] = linkOf(random, protection, world);
        link.weather = { ...fairWeather, duplicates: random.fraction() };
        world.later(random.below(20_000), "link", () => {
          link.weather = fairWeather;
        });
        return `the link of ${name} duplicates messages`;
      }),
  },
];
