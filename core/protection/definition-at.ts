import type { Id } from "#core/ids.ts";
import { definitionKey } from "#core/journal/keys.ts";
import { parsePosition } from "#core/journal/position.ts";
import { parseStored } from "#core/json.ts";
import type { Objects } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { captureRevisionOf, definitionSchema, type VpgDefinition } from "./definition.ts";
import { getSession } from "./session-store.ts";

/** A stored revision. Throws `NotFound`, `Corrupt`. */
export async function readDefinition(objects: Objects, vpgId: Id, revision: number): Promise<VpgDefinition> {
  const key = definitionKey(vpgId, revision);
  return parseStored(definitionSchema, await objects.get(key), key);
}

/**
 * What is recovered of a checkpoint whose session worked by `revision`: the VMs and volumes that were captured then, in the way
 * that is set today. A VM that is there no more boots in the group it had.
 */
export async function definitionAt(objects: Objects, today: VpgDefinition, revision: number): Promise<VpgDefinition> {
  if (revision === captureRevisionOf(today)) return today;
  return recoveredAs(await readDefinition(objects, today.vpgId, revision), today);
}

/** The captured of one revision with the settings of another. */
export function recoveredAs(then: VpgDefinition, today: VpgDefinition): VpgDefinition {
  const groups = new Map(today.vms.map(({ name, bootGroup }) => [name, bootGroup]));
  return {
    ...today,
    sourceGatewayId: then.sourceGatewayId,
    sourceGatewayName: then.sourceGatewayName,
    vms: then.vms.map((vm) => ({ ...vm, bootGroup: groups.get(vm.name) ?? vm.bootGroup })),
  };
}

/** `definitionAt` of a checkpoint by its id. A VPG whose volumes never changed costs no read. */
export async function definitionOfCheckpoint(site: Site, today: VpgDefinition, id: string): Promise<VpgDefinition> {
  if (captureRevisionOf(today) === 1) return today;
  const { claim } = await getSession(site, today.vpgId, parsePosition(id).session);
  return definitionAt(site.objects, today, claim.configRevision);
}
