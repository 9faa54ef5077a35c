import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import type { Machine } from "../machine.ts";
import { sectorBytes, sectorOf } from "../oracle/guest-log.ts";
import type { Protection } from "../protection.ts";
import type { World } from "../world.ts";
import { type Actor, oneOf, toOne } from "./actor.ts";

const writesMax = 24;
const betweenWritesMs = 60;
const sectorsMax = 24;

/** Overlapping writes and zeros from several connections, each in the log before it is sent and after it is answered. */
async function write(world: World, machine: Machine, random: SeededRandom): Promise<void> {
  const disk = machine.disks[random.below(machine.disks.length)];
  if (disk === undefined) return;
  const { volume } = disk;
  const { exports, log } = machine;
  const exportName = machine.exportName(disk);
  const sizeBytes = exports?.sizeOf(exportName) ?? 0;
  const sectors = sizeBytes / sectorBytes;
  const length = sectorBytes * (1 + random.below(random.chance(0.3) ? sectorsMax : 3));
  // Crowded at the front, so that writes overlap.
  const span = random.chance(0.5) ? sectors : 32;
  const offset = Math.min(random.below(span) * sectorBytes, sizeBytes - length);
  const [zero, flushes] = [random.chance(0.12), random.chance(0.15)];
  if (!machine.runs || exports?.takesWrites(exportName) !== true) return;
  const id = world.nextWrite();
  const bytes = Buffer.alloc(length, sectorOf(id));
  log.submit(id, { volume, offset, length }, zero, world.clock.now());
  const options = { mayTrim: true, fua: flushes };
  const answer = await exports.request(
    exportName,
    (device) => (zero ? device.writeZeroes(offset, length, options) : device.write(offset, bytes, flushes)),
    () => log.end(id),
  );
  if (answer === "done") log.acknowledge(id, world.clock.now());
}

/** One whose VMs run, the newest mostly. */
function writing({ machines, first }: Protection, random: SeededRandom): Machine {
  const running = machines.filter(({ runs }) => runs);
  return (random.chance(0.7) ? running.at(-1) : oneOf(random, running)) ?? first;
}

export const guests: readonly Actor[] = [
  {
    name: "write",
    kind: "deed",
    weight: 30,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const count = 1 + random.below(writesMax);
        const machine = writing(protection, random);
        for (let each = 0; each < count; each += 1) {
          const own = world.random(`write ${random.uint32()}`);
          world.later(random.below(betweenWritesMs * count), "write", () => write(world, machine, own));
        }
        return `${count} writes`;
      }),
  },
  {
    name: "write much",
    kind: "deed",
    weight: 2,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const count = 120;
        const machine = writing(protection, random);
        for (let each = 0; each < count; each += 1) {
          const own = world.random(`write ${random.uint32()}`);
          world.later(random.below(1500), "write", () => write(world, machine, own));
        }
        return `${count} writes`;
      }),
  },
  {
    name: "boot source",
    kind: "deed",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async ({ first: { vms } }) => {
        if (vms.running.has("vm")) return undefined;
        vms.running.add("vm");
        return "its source VM is powered on by hand";
      }),
  },
];
