import type { Id } from "#core/ids.ts";
import type { VpgDefinition } from "#core/protection/definition.ts";
import type { Site } from "#core/site.ts";
import { getOperation, recoveredOf, vpgOf } from "./operation-store.ts";
import { stepNames } from "./steps.ts";

/** The numbers of the groups that have VMs, in the order they boot. */
export function bootGroups(definition: VpgDefinition): readonly number[] {
  return [...new Set(definition.vms.map((vm) => vm.bootGroup))].sort((left, right) => left - right);
}

export function vmsOfGroup(definition: VpgDefinition, bootGroup: number): readonly string[] {
  return definition.vms.filter((vm) => vm.bootGroup === bootGroup).map((vm) => vm.name);
}

/** The next group after `done` groups and the seconds to wait before it: the delay of the group before. Undefined after the last. */
export function nextBootGroup(
  definition: VpgDefinition,
  done: number,
): { readonly bootGroup: number; readonly delaySeconds: number } | undefined {
  const groups = bootGroups(definition);
  const bootGroup = groups[done];
  if (bootGroup === undefined) return undefined;
  const before = groups[done - 1];
  const delay = definition.bootDelays.find((entry) => entry.bootGroup === before);
  return { bootGroup, delaySeconds: Math.ceil((delay?.delayMs ?? 0) / 1000) };
}

/** Task next-boot-group, for the loop of the state machines. */
export async function nextBootStep(
  site: Site,
  operationId: Id,
): Promise<{ readonly step: string; readonly delaySeconds: number }> {
  const operation = await getOperation(site, operationId);
  const recovered = await recoveredOf(site, operation, await vpgOf(site, operation));
  const next = nextBootGroup(recovered, operation.bootGroupsDone);
  if (next === undefined) return { step: "none", delaySeconds: 0 };
  return { step: stepNames.bootGroup(next.bootGroup), delaySeconds: next.delaySeconds };
}
