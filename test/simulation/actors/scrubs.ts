import { sectorBytes, sectorOf } from "../oracle/guest-log.ts";
import { type Actor, oneOf, toOne } from "./actor.ts";

export const scrubs: readonly Actor[] = [
  {
    name: "scrub",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const { site } = await protection.seat();
        world.background("scrub", world.people.ask(site, "POST", `/vpgs/${protection.vpgId}/scrub`, {}));
        return "a scrub of journal and disks";
      }),
  },
  {
    name: "rot",
    kind: "fault",
    weight: 1,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const { vpg } = await protection.seat();
        if (vpg?.role !== "Journal") return undefined;
        const machine = protection.machineOf(vpg.vpgId, vpg.term);
        const disk = machine && oneOf(random, machine.disks);
        if (disk === undefined) return undefined;
        const { volume, name } = disk;
        const offset = random.below(disk.sizeBytes / sectorBytes) * sectorBytes;
        const id = world.nextWrite();
        // As if somebody had written it who never hears an answer: it may show from here on, or not.
        machine?.log.submit(id, { volume, offset, length: sectorBytes }, false, world.clock.now());
        machine?.rotten.push({ volume, offset });
        disk.rot(offset, sectorOf(id));
        return `a sector of ${name} rots at ${offset}`;
      }),
  },
];
