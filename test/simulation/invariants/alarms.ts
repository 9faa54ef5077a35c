import { readScrub } from "#core/scrub/record.ts";
import { hadOldTable } from "../actors/tables.ts";
import type { Protection } from "../protection.ts";
import { Violation } from "../violation.ts";
import { diskNumber } from "../volumes.ts";

/** A scrub's alert means damage: of the journals there is none in this world, of the disks only what rotted. */
export async function checkAlarms(protection: Protection): Promise<void> {
  const { vpgId, name, sites, gateways } = protection;
  for (const site of sites) {
    const [found] = (await readScrub(site, vpgId)).record.findings;
    if (found !== undefined) {
      throw new Violation("false alarm", `the journal of ${name} at ${site.name}: ${found.error}: ${found.message}`);
    }
  }
  for (const gateway of gateways) {
    // An old table lacks batches, so that whoever compares with what it lists finds differences, until it is made again.
    if (hadOldTable(gateway.remote.site)) continue;
    const { stream } = gateway.status(vpgId) ?? {};
    for (const { volume, offset, length } of stream?.scrub?.findings ?? []) {
      const number = diskNumber(protection.nameOf(vpgId, volume));
      const rotten = gateway.machines.flatMap((machine) => machine.rotten);
      const real = rotten.some((at) => at.volume === number && offset <= at.offset && at.offset < offset + length);
      if (real) continue;
      throw new Violation("false alarm", `${gateway.name} finds volume ${volume} of ${name} to differ at ${offset}`);
    }
  }
}
