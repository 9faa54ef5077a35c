import { z } from "zod";
import { type Id, idSchema, nameSchema } from "#core/ids.ts";
import { retentionSchema } from "#core/retention/policy.ts";
import { scrubSchema } from "#core/scrub/policy.ts";
import { triggerPolicySchema } from "#core/trigger/policy.ts";
import { protectionLimits as limits } from "./limits.ts";

export const volumeSchema = z.strictObject({
  /** Number in the journal; given at creation, never reused. */
  volume: z.int().min(1).max(limits.volumeNumberMax),
  name: nameSchema,
  sizeBytes: z.int().min(512).max(limits.volumeBytesMax),
  sectorBytes: z.union([z.literal(512), z.literal(4096)]),
});
export type Volume = z.infer<typeof volumeSchema>;

export const vmSchema = z.strictObject({
  name: nameSchema,
  /** VMs of group 1 boot first; a group boots after the one before and its delay. */
  bootGroup: z.int().min(1).max(limits.bootGroupsMax),
  /** There when the VM's disks are on another gateway than the VPG's `sourceGatewayId`. */
  sourceGateway: z.strictObject({ gatewayId: idSchema, name: nameSchema }).exactOptional(),
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
  /** Captures every VM that names no other; with several it is the coordinator of their barriers. */
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
  /**
   * The revision that last changed what its gateways work by (volumes, VMs, gateways, checkpoint interval): the one that sessions, batches and so checkpoints
   * name. Absent where that is the first.
   */
  captureRevision: z.int().min(1).exactOptional(),
  /** The highest volume number ever given; absent until the first edit. */
  lastVolume: z.int().min(1).max(limits.volumeNumberMax).exactOptional(),
  /** Which checkpoints stay. Absent in definitions that are older than the field: then all do, and nothing is deleted. */
  retention: retentionSchema.exactOptional(),
  /** How fast the journal is read back; absent: as the site sees fit. */
  scrub: scrubSchema.exactOptional(),
  /** Who asked for this revision. Absent in definitions that are older than the field. */
  initiatedBy: z.string().exactOptional(),
});
export type VpgDefinition = z.infer<typeof definitionSchema>;

/** The revision that a session opened now works by. */
export function captureRevisionOf({ captureRevision = 1 }: Pick<VpgDefinition, "captureRevision">): number {
  return captureRevision;
}

/** A volume with the VM it belongs to. */
export interface VmVolume extends Volume {
  readonly vmName: string;
}

export function volumesOf({ vms }: Pick<VpgDefinition, "vms">): readonly VmVolume[] {
  return vms.flatMap((vm) => vm.volumes.map((volume) => ({ ...volume, vmName: vm.name })));
}

export type SourceGateway = Required<Vm>["sourceGateway"];

type WithGateway = Pick<Vm, "sourceGateway">;
/** What says which gateway captures what. */
export interface SourceSide<Machine extends WithGateway = WithGateway>
  extends Pick<VpgDefinition, "sourceGatewayId" | "sourceGatewayName"> {
  readonly vms: readonly Machine[];
}

/** The gateway that captures a VM's disks. */
export function gatewayOf(definition: SourceSide, vm: WithGateway): SourceGateway {
  return vm.sourceGateway ?? { gatewayId: definition.sourceGatewayId, name: definition.sourceGatewayName };
}

/** Every source gateway once, the coordinator first. */
export function sourceGatewaysOf(definition: SourceSide): readonly SourceGateway[] {
  const { sourceGatewayId, sourceGatewayName, vms } = definition;
  const gateways = new Map([[sourceGatewayId, { gatewayId: sourceGatewayId, name: sourceGatewayName }]]);
  for (const { sourceGateway } of vms) {
    if (sourceGateway !== undefined) gateways.set(sourceGateway.gatewayId, sourceGateway);
  }
  return [...gateways.values()];
}

export function isSourceGateway(definition: VpgDefinition, gatewayId: Id | null): gatewayId is Id {
  return sourceGatewaysOf(definition).some((gateway) => gateway.gatewayId === gatewayId);
}

/** The VMs whose disks the gateway captures. */
export function vmsOfGateway<Machine extends WithGateway>(
  definition: SourceSide<Machine>,
  gatewayId: Id,
): readonly Machine[] {
  return definition.vms.filter((vm) => gatewayOf(definition, vm).gatewayId === gatewayId);
}
