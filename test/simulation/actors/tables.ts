import type { TableSnapshot } from "../../kit/memory-table.ts";
import type { SimSite } from "../sim-site.ts";
import type { World } from "../world.ts";
import { type Actor, toSite } from "./actor.ts";

/** Backups of a site's table, the newest last. */
const backups = new WeakMap<SimSite, TableSnapshot[]>();
/** Sites whose table is an old one, which nobody has made again yet. */
const restored = new WeakSet<SimSite>();

/** Sites whose table was an old one at some time. */
const onceRestored = new WeakSet<SimSite>();

export const hadOldTable = (site: SimSite): boolean => onceRestored.has(site);

export const hasOldTable = (site: SimSite): boolean => restored.has(site);

/** The site comes down, its table is made again from the bucket, and it starts. */
export async function rebuild(world: World, site: SimSite): Promise<void> {
  await forget(world);
  site.kill();
  await site.rebuild();
  restored.delete(site);
  await site.start();
}

/** A table that is not what it was may know nothing of the operations under way, nor of pins and leases. */
async function forget(world: World): Promise<void> {
  world.leases.clear();
  for (const protection of world.protections) {
    for (const { operation } of await protection.operations()) protection.forgotten.add(operation.operationId);
    for (const { operationId } of protection.folders()) protection.forgotten.add(operationId);
  }
}

export const tables: readonly Actor[] = [
  {
    name: "back up table",
    kind: "deed",
    weight: 3,
    act: (world, random) =>
      toSite(world, random, async (site) => {
        backups.set(site, [...(backups.get(site) ?? []), site.table.snapshot()]);
        return "its table is backed up";
      }),
  },
  {
    name: "restore old table",
    kind: "fault",
    weight: 1,
    act: (world, random) =>
      toSite(world, random, async (site) => {
        const all = backups.get(site) ?? [];
        const backup = all[random.below(all.length)];
        if (backup === undefined) return undefined;
        await forget(world);
        site.kill();
        site.table.restore(backup);
        restored.add(site);
        onceRestored.add(site);
        await site.start();
        return "an old table is restored";
      }),
  },
  {
    name: "rebuild",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toSite(world, random, async (site) => {
        await rebuild(world, site);
        return "its table is made again from the bucket";
      }),
  },
];
