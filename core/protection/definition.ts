import { z } from "zod";
import { idSchema, nameSchema } from "#core/ids.ts";
import { triggerPolicySchema } from "#core/trigger/policy.ts";
import { protectionLimits as limits } from "./limits.ts";

export const volumeSchema = z.strictObject({
  /** Number in the journal; given at creation, never reused. */
  volume: z.int().min(1).max(65_535),
  name: nameSchema,
  sizeBytes: z.int().min(512).max(limits.volumeBytesMax),
  sectorBytes: z.union([z.literal(512), z.literal(4096)]),
});
export type Volume = z.infer<typeof volumeSchema>;

export const vmSchema = z.strictObject({
  name: nameSchema,
  /** VMs of group 1 boot first; a group boots after the one before and its delay. */
  bootGroup: z.int().min(1).max(limits.bootGroupsMax),
  volumes: z.array(volumeSchema).min(1).max(limits.volumesMax),
});
export type Vm = z.infer<typeof vmSchema>;

/** What a VPG is; the bucket object `vpgs/<vpg>/<revision>.json` and, as cache, the table's VPG item. */
export const definitionSchema = z.strictObject({
  formatVersion: z.literal(1),
  vpgId: idSchema,
  revision: z.int().min(1),
  name: nameSchema,
  /** Label of the protected site. */
  protectedSite: nameSchema,
  sourceGatewayId: idSchema,
  sourceGatewayName: nameSchema,
  /** The gateway that exports recovered volumes and runs hooks; null with compute "none". */
  recoveryGatewayId: idSchema.nullable(),
  recoveryGatewayName: nameSchema.nullable(),
  compute: z.enum(["gateway", "none"]),
  targetRpoMs: z.int().min(1000),
  checkpointIntervalMs: z.int().min(limits.checkpointIntervalMsMin).max(limits.checkpointIntervalMsMax),
  historyMs: z.int().min(60_000),
  vms: z.array(vmSchema).min(1).max(limits.vmsMax),
  /** Delay after a boot group before the next; groups without an entry have none. */
  bootDelays: z.array(
    z.strictObject({ bootGroup: z.int().min(1), delayMs: z.int().min(0).max(limits.bootDelayMsMax) }),
  ),
  /** Absent in definitions that are older than triggers. */
  trigger: triggerPolicySchema.prefault({}),
});
export type VpgDefinition = z.infer<typeof definitionSchema>;

/** A volume with the VM it belongs to. */
export interface VmVolume extends Volume {
  readonly vmName: string;
}

export function volumesOf(definition: VpgDefinition): readonly VmVolume[] {
  return definition.vms.flatMap((vm) => vm.volumes.map((volume) => ({ ...volume, vmName: vm.name })));
}
