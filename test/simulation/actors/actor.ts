import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import type { Protection } from "../protection.ts";
import type { SimSite } from "../sim-site.ts";
import type { World } from "../world.ts";

/** Something that happens in the world: what people, guests and programs do, or what goes wrong. */
export interface Actor {
  readonly name: string;
  readonly kind: "deed" | "fault";
  /** How often it has its turn, beside the others' weights. */
  readonly weight: number;
  /**
   * Does it, or begins it in the background: no time passes meanwhile. Answers what it did, and to which VPG; undefined when it
   * couldn't be done now. All chance comes from `random`, so that it does the same when other actions are left out.
   */
  readonly act: (world: World, random: SeededRandom) => Promise<Done | undefined>;
}

export interface Done {
  readonly text: string;
  /** Those that it happened to. */
  readonly to: readonly Protection[];
}

export function oneOf<T>(random: SeededRandom, list: readonly T[]): T | undefined {
  return list[random.below(list.length)];
}

/** A protection by chance, and what was done to it. */
export async function toOne(
  world: World,
  random: SeededRandom,
  act: (protection: Protection) => Promise<string | undefined>,
): Promise<Done | undefined> {
  const protection = oneOf(random, world.protections);
  const text = protection && (await act(protection));
  return protection === undefined || text === undefined
    ? undefined
    : { text: `${protection.name}: ${text}`, to: [protection] };
}

export async function toSite(
  world: World,
  random: SeededRandom,
  act: (site: SimSite) => Promise<string | undefined>,
): Promise<Done | undefined> {
  const site = oneOf(random, world.sites);
  const text = site && (await act(site));
  if (site === undefined || text === undefined) return undefined;
  return { text: `${site.name}: ${text}`, to: world.protections };
}
