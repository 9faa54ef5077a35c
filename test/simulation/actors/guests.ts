import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { sectorBytes, sectorOf } from "../oracle/guest-log.ts";
import type { Protection } from "../protection.ts";
import { simVolumes } from "../volumes.ts";
import type { World } from "../world.ts";
import { type Actor, toOne } from "./actor.ts";

const writesMax = 24;
const betweenWritesMs = 60;
const sectorsMax = 24;

/** Overlapping writes and zeros from several connections, each in the log before it is sent and after it is answered. */
async function write(world: World, protection: Protection, random: SeededRandom): Promise<void> {
  const volume = 1 + random.below(simVolumes.length);
  const { name, sizeBytes } = simVolumes[volume - 1] ?? { name: "", sizeBytes: 0 };
  const sectors = sizeBytes / sectorBytes;
  const length = sectorBytes * (1 + random.below(random.chance(0.3) ? sectorsMax : 3));
  // Crowded at the front, so that writes overlap.
  const span = random.chance(0.5) ? sectors : 32;
  const offset = Math.min(random.below(span) * sectorBytes, sizeBytes - length);
  const [zero, flushes] = [random.chance(0.12), random.chance(0.15)];
  const exportName = `${protection.name}/vm/${name}`;
  const { exports } = protection.source;
  if (!protection.vms.running.has("vm") || exports?.takesWrites(exportName) !== true) return;
  const id = world.nextWrite();
  const { log } = protection;
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

export const guests: readonly Actor[] = [
  {
    name: "write",
    kind: "deed",
    weight: 30,
    act: (world, random) =>
      toOne(world, random, async (protection) => {
        const count = 1 + random.below(writesMax);
        for (let each = 0; each < count; each += 1) {
          const own = world.random(`write ${random.uint32()}`);
          world.later(random.below(betweenWritesMs * count), "write", () => write(world, protection, own));
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
        for (let each = 0; each < count; each += 1) {
          const own = world.random(`write ${random.uint32()}`);
          world.later(random.below(1500), "write", () => write(world, protection, own));
        }
        return `${count} writes`;
      }),
  },
  {
    name: "boot source",
    kind: "deed",
    weight: 3,
    act: (world, random) =>
      toOne(world, random, async ({ vms }) => {
        if (vms.running.has("vm")) return undefined;
        vms.running.add("vm");
        return "its source VM is powered on by hand";
      }),
  },
];
