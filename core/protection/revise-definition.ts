import { InvalidInput } from "#core/errors.ts";
import { formatBytes, formatDuration } from "#core/units.ts";
import {
  captureRevisionOf,
  definitionSchema,
  gatewayOf,
  sourceGatewaysOf,
  type VmVolume,
  type VpgDefinition,
  volumesOf,
} from "./definition.ts";
import type { Defined } from "./definition-input.ts";
import { protectionLimits as limits } from "./limits.ts";

export interface Revised {
  readonly definition: VpgDefinition;
  /** One line each, for people; empty when nothing would change. */
  readonly changes: readonly string[];
}

/**
 * The next revision of a definition, as a person wants it. A volume is the same one when its gateway, VM and name are the same;
 * any other gets a number that was never given before. Throws `InvalidInput` naming what an edit can't do.
 */
export function reviseDefinition(before: VpgDefinition, wanted: Defined, initiatedBy: string): Revised {
  refuse(before, wanted);
  const known = new Map(placed(before).map((volume) => [volume.place, volume]));
  let last = Math.max(before.lastVolume ?? 0, ...volumesOf(before).map(({ volume }) => volume));
  const vms = wanted.vms.map((vm) => ({
    ...vm,
    volumes: vm.volumes.map((entry) => {
      const place = placeOf(gatewayOf(wanted, vm).gatewayId, vm.name, entry.name);
      const volume = known.get(place)?.volume ?? ++last;
      if (volume > limits.volumeNumberMax) {
        throw new InvalidInput(`${before.name} has used up its ${limits.volumeNumberMax} volume numbers`, {
          field: "vms",
        });
      }
      return { volume, ...entry };
    }),
  }));
  const { vpgId, formatVersion } = before;
  const revision = before.revision + 1;
  const asked = { ...wanted, vms, formatVersion, vpgId, revision, lastVolume: last, initiatedBy };
  const captured = captureOf(before) === captureOf(asked);
  const captureRevision = captured ? captureRevisionOf(before) : revision;
  const definition = definitionSchema.parse({ ...asked, captureRevision });
  return { definition, changes: [...volumeChanges(before, definition), ...settingChanges(before, definition)] };
}

const placeOf = (gatewayId: string, vm: string, volume: string): string => `${gatewayId} ${vm}/${volume}`;

interface PlacedVolume extends VmVolume {
  readonly place: string;
}

/** What says where each volume is. */
type Captured = Pick<VpgDefinition, "vms" | "sourceGatewayId" | "sourceGatewayName">;

function placed(definition: Captured): readonly PlacedVolume[] {
  return definition.vms.flatMap((vm) => {
    const { gatewayId } = gatewayOf(definition, vm);
    return vm.volumes.map((each) => ({ ...each, vmName: vm.name, place: placeOf(gatewayId, vm.name, each.name) }));
  });
}

/** All that a gateway works by in a session: with another of it, sessions are opened anew. */
function captureOf(definition: Captured & Pick<VpgDefinition, "checkpointIntervalMs">): string {
  const volumes = placed(definition).map(({ volume, place, sizeBytes, sectorBytes }) =>
    JSON.stringify([volume, place, sizeBytes, sectorBytes]),
  );
  return JSON.stringify([definition.checkpointIntervalMs, volumes.sort()]);
}

function refuse(before: VpgDefinition, wanted: Defined): void {
  if (wanted.name !== before.name) {
    throw new InvalidInput(`the name of ${before.name} can't be changed`, { field: "name" });
  }
  const [was, will] = [before, wanted].map((each) => sourceGatewaysOf(each).map(({ gatewayId }) => gatewayId));
  if (
    was?.[0] !== will?.[0] ||
    new Set([...(was ?? []), ...(will ?? [])]).size !== was?.length ||
    was.length !== will?.length
  ) {
    throw new InvalidInput(
      `the source gateways of ${before.name} can't be changed by an edit: they are ` +
        `${sourceGatewaysOf(before)
          .map(({ name }) => name)
          .join(", ")}; make another VPG for disks of other gateways`,
      { field: "sourceGateway" },
    );
  }
  for (const vm of wanted.vms) {
    for (const { name, sizeBytes, sectorBytes } of vm.volumes) {
      const same = volumesOf(before).find((volume) => volume.vmName === vm.name && volume.name === name);
      if (same === undefined) continue;
      if (sizeBytes < same.sizeBytes) {
        throw new InvalidInput(
          `volume ${vm.name}/${name} can't shrink from ${same.sizeBytes} to ${sizeBytes} bytes; add a volume of another name instead`,
          { field: "sizeBytes" },
        );
      }
      if (sectorBytes !== same.sectorBytes) {
        throw new InvalidInput(`the sectors of volume ${vm.name}/${name} have ${same.sectorBytes} bytes for good`, {
          field: "sectorBytes",
        });
      }
    }
  }
}

function volumeChanges(before: VpgDefinition, after: VpgDefinition): readonly string[] {
  const changes: string[] = [];
  const was = new Map(placed(before).map((volume) => [volume.volume, volume]));
  const will = new Set(volumesOf(after).map(({ volume }) => volume));
  for (const vm of after.vms) {
    const known = before.vms.find(({ name }) => name === vm.name);
    if (known === undefined) changes.push(`VM ${vm.name}: added, boot group ${vm.bootGroup}`);
    else if (known.bootGroup !== vm.bootGroup) {
      changes.push(`VM ${vm.name}: boot group ${known.bootGroup} becomes ${vm.bootGroup}`);
    }
  }
  for (const { name } of before.vms) {
    if (!after.vms.some((vm) => vm.name === name)) changes.push(`VM ${name}: removed`);
  }
  for (const { volume, vmName, name, sizeBytes } of volumesOf(after)) {
    const known = was.get(volume);
    if (known === undefined)
      changes.push(`volume ${vmName}/${name}: added with ${formatBytes(sizeBytes)}, number ${volume}`);
    else if (known.sizeBytes !== sizeBytes) {
      changes.push(`volume ${vmName}/${name}: grows from ${formatBytes(known.sizeBytes)} to ${formatBytes(sizeBytes)}`);
    }
  }
  for (const { volume, vmName, name } of was.values()) {
    if (will.has(volume)) continue;
    changes.push(`volume ${vmName}/${name}: removed; its checkpoints keep it until they expire`);
  }
  if (changes.length === 0 && JSON.stringify(before.vms) !== JSON.stringify(after.vms))
    changes.push("VMs: another order");
  return changes;
}

/** What is told by `volumeChanges`, follows from a name that is told, or is no setting. */
const notSettings: ReadonlySet<string> = new Set([
  ...["formatVersion", "vpgId", "revision", "captureRevision", "lastVolume", "initiatedBy", "vms"],
  ...["sourceGatewayId", "sourceGatewayName"],
]);

function settingChanges(before: VpgDefinition, after: VpgDefinition): readonly string[] {
  const [was, will] = [leavesOf(before), leavesOf(after)];
  return [...new Set([...was.keys(), ...will.keys()])].flatMap((path) => {
    const [left, right] = [was.get(path), will.get(path)];
    return left === right ? [] : [`${path}: ${left ?? "not set"} becomes ${right ?? "not set"}`];
  });
}

/** Every setting by its path, as text. */
function leavesOf(definition: VpgDefinition): ReadonlyMap<string, string> {
  const leaves = new Map<string, string>();
  const visit = (path: string, value: unknown): void => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) visit(path === "" ? key : `${path}.${key}`, inner);
    } else if (value !== undefined && !notSettings.has(path)) leaves.set(path, textOf(path, value));
  };
  visit("", definition);
  return leaves;
}

function textOf(path: string, value: unknown): string {
  if (typeof value !== "number") return typeof value === "string" ? value : JSON.stringify(value);
  if (path.endsWith("Ms")) return formatDuration(value);
  return path.endsWith("Bytes") ? formatBytes(value) : String(value);
}
