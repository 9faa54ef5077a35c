import type { CreateVpg } from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { Site } from "#core/site.ts";
import { candidateOf, checkDependencies } from "#core/trigger/order.ts";
import { checkPolicy } from "#core/trigger/policy.ts";
import {
  type SourceGateway,
  type SourceSide,
  sourceGatewaysOf,
  type VpgDefinition,
  vmsOfGateway,
} from "./definition.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import { listVpgs } from "./vpg-store.ts";

/** A VM as asked for; its volumes have no numbers yet. */
export type DefinedVm = Omit<CreateVpg["vms"][number], "sourceGateway"> & { readonly sourceGateway?: SourceGateway };

/** What a person says of a VPG, with the identities of the gateways that are named. */
export type Defined = Omit<
  VpgDefinition,
  "formatVersion" | "vpgId" | "revision" | "vms" | "captureRevision" | "lastVolume"
> & {
  readonly vms: readonly DefinedVm[];
};

/**
 * Checks what a person says of a VPG, before anything of it is stored, and finds its gateways. Throws `InvalidInput` naming what
 * doesn't fit.
 */
export async function definedBy(site: Site, input: CreateVpg): Promise<Defined> {
  checkAlone(input);
  const known = (await listVpgs(site)).filter(({ definition }) => definition.name !== input.name);
  checkDependencies(
    candidateOf(input),
    known.map(({ definition }) => candidateOf(definition)),
  );
  const { sourceGateway, recoveryGateway, vms: _, ...settings } = input;
  const defined = {
    ...settings,
    sourceGatewayId: await gatewayNamed(site, sourceGateway),
    sourceGatewayName: sourceGateway,
    recoveryGatewayId: recoveryGateway === null ? null : await gatewayNamed(site, recoveryGateway),
    recoveryGatewayName: recoveryGateway,
    vms: await capturedBy(site, input),
  };
  checkGateways(defined);
  return defined;
}

/** What can be said of a VPG without its site. Throws `InvalidInput` naming what doesn't fit. */
export function checkAlone(input: CreateVpg): void {
  checkNames(input);
  checkPolicy(input.trigger, input.compute);
}

/** Each VM with its gateway's identity, where that is not the VPG's own. */
async function capturedBy(site: Site, { vms, sourceGateway }: CreateVpg): Promise<readonly DefinedVm[]> {
  const captured: DefinedVm[] = [];
  for (const { sourceGateway: name = sourceGateway, ...vm } of vms) {
    const own = name === sourceGateway ? {} : { sourceGateway: { gatewayId: await gatewayNamed(site, name), name } };
    captured.push({ ...vm, ...own });
  }
  return captured;
}

function checkGateways(definition: SourceSide): void {
  const gateways = sourceGatewaysOf(definition);
  if (gateways.length > limits.sourceGatewaysMax) {
    throw new InvalidInput(`a VPG has at most ${limits.sourceGatewaysMax} source gateways, not ${gateways.length}`, {
      field: "vms",
    });
  }
  if (vmsOfGateway(definition, definition.sourceGatewayId).length > 0) return;
  throw new InvalidInput(
    `no VM's disks are on the VPG's own gateway ${definition.sourceGatewayName}; name as sourceGateway one that has some`,
    { field: "sourceGateway" },
  );
}

/** What the schema can't say: names that stand twice, sizes that aren't whole sectors, a compute without its gateway. */
function checkNames(input: CreateVpg): void {
  const volumes = input.vms.flatMap((vm) => vm.volumes);
  if (volumes.length > limits.volumesMax) {
    throw new InvalidInput(`a VPG has at most ${limits.volumesMax} volumes, not ${volumes.length}`, { field: "vms" });
  }
  assertUnique(input.vms, "vms", "VM");
  for (const vm of input.vms) assertUnique(vm.volumes, `vms.${vm.name}.volumes`, "volume");
  for (const { name, sizeBytes, sectorBytes } of volumes) {
    if (sizeBytes % sectorBytes !== 0) {
      throw new InvalidInput(`volume ${name}: ${sizeBytes} bytes are not whole sectors of ${sectorBytes}`, {
        field: "sizeBytes",
      });
    }
  }
  const groups = new Set(input.vms.map((vm) => vm.bootGroup));
  for (const { bootGroup } of input.bootDelays) {
    if (!groups.has(bootGroup)) {
      throw new InvalidInput(`bootDelays: no VM is in boot group ${bootGroup}`, { field: "bootDelays" });
    }
  }
  if (input.compute === "gateway" && input.recoveryGateway === null) {
    throw new InvalidInput('compute "gateway" needs a recoveryGateway; without one say compute "none"', {
      field: "recoveryGateway",
    });
  }
}

function assertUnique(entries: readonly { readonly name: string }[], field: string, what: string): void {
  const seen = new Set<string>();
  for (const { name } of entries) {
    if (seen.has(name)) throw new InvalidInput(`${field}: the ${what} "${name}" stands twice`, { field });
    seen.add(name);
  }
}

/** Throws `InvalidInput` for a name that no token of a gateway has. */
export async function gatewayNamed(site: Site, name: string): Promise<Id> {
  const item = await site.table.get(items.gatewayName(name));
  if (item === undefined) {
    throw new InvalidInput(
      `no gateway "${name}" at this site; farshore token create --role gateway --name ${name} makes its identity`,
      { gateway: name },
    );
  }
  return idSchema.parse(item.fields["gatewayId"]);
}

/** The definition as a person says it: what `definedBy` makes it of. */
export function askedFor(definition: VpgDefinition): CreateVpg {
  const { formatVersion: _f, vpgId: _v, revision: _r, captureRevision: _c, lastVolume: _l, ...rest } = definition;
  const { initiatedBy: _i, sourceGatewayId: _s, recoveryGatewayId: _g, ...settings } = rest;
  const { sourceGatewayName, recoveryGatewayName, ...own } = settings;
  return {
    ...own,
    sourceGateway: sourceGatewayName,
    recoveryGateway: recoveryGatewayName,
    vms: definition.vms.map(({ sourceGateway, volumes, ...vm }) => ({
      ...vm,
      ...(sourceGateway === undefined ? {} : { sourceGateway: sourceGateway.name }),
      volumes: volumes.map(({ name, sizeBytes, sectorBytes }) => ({ name, sizeBytes, sectorBytes })),
    })),
  };
}
