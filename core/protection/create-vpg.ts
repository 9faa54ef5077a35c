import type { CreateVpg } from "#core/api/site-api.ts";
import { ConditionFailed, InvalidInput } from "#core/errors.ts";
import { type Id, idSchema, newId } from "#core/ids.ts";
import { definitionKey } from "#core/journal/keys.ts";
import { jsonBytes, parseStored } from "#core/json.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { candidateOf, checkDependencies } from "#core/trigger/order.ts";
import { checkPolicy } from "#core/trigger/policy.ts";
import {
  definitionSchema,
  type SourceGateway,
  sourceGatewaysOf,
  type VpgDefinition,
  vmsOfGateway,
} from "./definition.ts";
import { indexGateways } from "./gateway-index.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import { mintTerm } from "./terms.ts";
import { tryAgain } from "./try-again.ts";
import { fieldsOf, type VpgFields, type VpgRecord } from "./vpg-record.ts";
import { findVpg, listVpgs } from "./vpg-store.ts";

/**
 * Makes a VPG: its name is reserved, then its definition and term 1 stand in the bucket, then the table shows it. Cut off
 * anywhere, asking again with the same name goes on. Throws `InvalidInput` naming what doesn't fit.
 */
export async function createVpg(site: Site, input: CreateVpg, caller: Caller): Promise<VpgRecord> {
  checkNames(input);
  checkPolicy(input.trigger, input.compute);
  const known = (await listVpgs(site)).filter(({ definition }) => definition.name !== input.name);
  checkDependencies(
    candidateOf(input),
    known.map(({ definition }) => candidateOf(definition)),
  );
  const source = await gatewayNamed(site, input.sourceGateway);
  const recovery = input.recoveryGateway === null ? null : await gatewayNamed(site, input.recoveryGateway);
  const vms = await capturedBy(site, input);
  const vpgId = await reserveName(site, input.name);
  const wanted = definitionSchema.parse({
    formatVersion: 1,
    vpgId,
    revision: 1,
    name: input.name,
    protectedSite: input.protectedSite,
    sourceGatewayId: source,
    sourceGatewayName: input.sourceGateway,
    recoveryGatewayId: recovery,
    recoveryGatewayName: input.recoveryGateway,
    compute: input.compute,
    targetRpoMs: input.targetRpoMs,
    checkpointIntervalMs: input.checkpointIntervalMs,
    historyMs: input.historyMs,
    vms: numbered(vms),
    bootDelays: input.bootDelays,
    trigger: input.trigger,
    initiatedBy: callerText(caller),
  });
  checkGateways(wanted);
  const definition = await writeDefinition(site, wanted);
  const fields: VpgFields = {
    definition,
    term: 1,
    role: "Journal",
    operationId: null,
    syncOperationId: null,
    openTests: [],
    lastSession: 0,
    ...(sourceGatewaysOf(definition).length > 1 ? { gatewaySessions: {} } : {}),
    opening: [],
    paused: false,
    deleted: false,
    needsConfiguration: false,
    formatVersion: 1,
    createdAt: site.clock.now(),
  };
  await mintTerm(
    site,
    { vpgId, term: 0, definition },
    { n: 1, runs: "protected", journal: site.siteId, fork: [], operationId: null },
  );
  try {
    await site.table.transact([
      { put: items.vpg(vpgId), fields: fieldsOf(fields), if: { absent: true } },
      ...indexGateways(definition),
    ]);
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    // This very call's own write whose reply was lost, or somebody else's of the same name and settings.
    const stands = await findVpg(site, vpgId);
    if (stands === undefined || stands.createdAt !== fields.createdAt) throw nameTaken(input.name);
    return stands;
  }
  site.log.info("vpg-created", { vpgId, name: input.name, initiatedBy: callerText(caller) });
  return { ...fields, vpgId, rev: 1 };
}

type CapturedVm = Omit<CreateVpg["vms"][number], "sourceGateway"> & { readonly sourceGateway?: SourceGateway };

/** Each VM with its gateway's identity, where that is not the VPG's own. */
async function capturedBy(site: Site, { vms, sourceGateway }: CreateVpg): Promise<readonly CapturedVm[]> {
  const captured: CapturedVm[] = [];
  for (const { sourceGateway: name = sourceGateway, ...vm } of vms) {
    const own = name === sourceGateway ? {} : { sourceGateway: { gatewayId: await gatewayNamed(site, name), name } };
    captured.push({ ...vm, ...own });
  }
  return captured;
}

/** Before anything of the VPG is stored. */
function checkGateways(definition: VpgDefinition): void {
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

function numbered(vms: readonly CapturedVm[]): VpgDefinition["vms"] {
  let volume = 0;
  return vms.map((vm) => ({
    ...vm,
    volumes: vm.volumes.map((entry) => {
      volume += 1;
      return { volume, ...entry };
    }),
  }));
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

async function gatewayNamed(site: Site, name: string): Promise<Id> {
  const item = await site.table.get(items.gatewayName(name));
  if (item === undefined) {
    throw new InvalidInput(
      `no gateway "${name}" at this site; farshore token create --role gateway --name ${name} makes its identity`,
      { gateway: name },
    );
  }
  return idSchema.parse(item.fields["gatewayId"]);
}

/** The id that stands behind the name from now on; that of an unfinished creation is used again. */
function reserveName(site: Site, name: string): Promise<Id> {
  const key = items.vpgName(name);
  return tryAgain(`the name ${name}`, async () => {
    const item = await site.table.get(key);
    if (item !== undefined) {
      const vpgId = idSchema.parse(item.fields["vpgId"]);
      if ((await findVpg(site, vpgId)) !== undefined) throw nameTaken(name);
      return vpgId;
    }
    const vpgId = newId(site.clock, site.random);
    await site.table.transact([{ put: key, fields: { vpgId }, if: { absent: true } }]);
    return vpgId;
  });
}

function nameTaken(name: string): InvalidInput {
  return new InvalidInput(`a VPG named "${name}" exists; farshore vpg show ${name}`, { field: "name", name });
}

/**
 * Revision 1, created once, and as it stands: whoever finishes what another began is not who initiated it. Other settings under a
 * name whose creation was cut off are refused rather than numbered 2: of two askers at the same time only one may define the VPG,
 * also for a later rebuild.
 */
async function writeDefinition(site: Site, definition: VpgDefinition): Promise<VpgDefinition> {
  const key = definitionKey(definition.vpgId, definition.revision);
  const bytes = jsonBytes(definition);
  if ((await site.objects.put(key, bytes, { ifAbsent: true })) === "created") return definition;
  const stored = parseStored(definitionSchema, await site.objects.get(key), key);
  const asHere = { ...stored, initiatedBy: definition.initiatedBy };
  if (Buffer.compare(jsonBytes(asHere), bytes) === 0) return stored;
  throw new InvalidInput(
    `a VPG named "${definition.name}" was begun with other settings and not finished; ` +
      "ask again with those settings, or choose another name",
    { field: "name", name: definition.name },
  );
}
