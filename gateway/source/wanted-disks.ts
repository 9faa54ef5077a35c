import { InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { type VpgDefinition, vmsOfGateway } from "#core/protection/definition.ts";
import type { SourceVolumeConfig } from "../config.ts";
import type { WantedDisk } from "./source-disks.ts";

/**
 * The volumes that a definition gives this gateway, with the disks that its configuration names for them. Throws `InvalidInput` that
 * says, for each difference, what is to be done in the configuration file.
 */
export function wantedDisks(
  definition: VpgDefinition,
  gatewayId: Id,
  configured: readonly SourceVolumeConfig[],
): readonly WantedDisk[] {
  const left = new Map(configured.map((volume) => [`${volume.vmName}/${volume.name}`, volume]));
  const wanted: WantedDisk[] = [];
  const wrong: string[] = [];
  for (const vm of vmsOfGateway(definition, gatewayId)) {
    for (const { name, sizeBytes, sectorBytes } of vm.volumes) {
      const place = `${vm.name}/${name}`;
      const volume = left.get(place);
      left.delete(place);
      if (volume === undefined)
        wrong.push(`add [[source.volume]] with vm = "${vm.name}", name = "${name}" and its path`);
      else if (volume.sectorBytes !== sectorBytes) wrong.push(`set sector = ${sectorBytes} for ${place}`);
      else wanted.push({ ...volume, sizeBytes });
    }
  }
  for (const place of left.keys())
    wrong.push(`remove the [[source.volume]] of ${place}, which is not captured, or edit the VPG`);
  if (wrong.length === 0) return wanted;
  throw new InvalidInput(
    `${definition.name} has other volumes (revision ${definition.revision}); in the gateway's configuration file: ${wrong.join("; ")}`,
  );
}
