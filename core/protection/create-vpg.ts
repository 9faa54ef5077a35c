import type { CreateVpg } from "#core/api/site-api.ts";
import { ConditionFailed, InvalidInput } from "#core/errors.ts";
import { type Id, idSchema, newId } from "#core/ids.ts";
import { definitionKey } from "#core/journal/keys.ts";
import { jsonBytes, parseStored } from "#core/json.ts";
import { retentionSchema } from "#core/retention/policy.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { definitionSchema, sourceGatewaysOf, type VpgDefinition } from "./definition.ts";
import { type DefinedVm, definedBy } from "./definition-input.ts";
import { indexGateways } from "./gateway-index.ts";
import { items } from "./items.ts";
import { mintTerm } from "./terms.ts";
import { tryAgain } from "./try-again.ts";
import { fieldsOf, type VpgFields, type VpgRecord } from "./vpg-record.ts";
import { findVpg } from "./vpg-store.ts";

/**
 * Makes a VPG: its name is reserved, then its definition and term 1 stand in the bucket, then the table shows it. Cut off
 * anywhere, asking again with the same name goes on. Throws `InvalidInput` naming what doesn't fit.
 */
export async function createVpg(site: Site, input: CreateVpg, caller: Caller): Promise<VpgRecord> {
  const defined = await definedBy(site, input);
  const vpgId = await reserveName(site, input.name);
  const wanted = definitionSchema.parse({
    formatVersion: 1,
    vpgId,
    revision: 1,
    ...defined,
    vms: numbered(defined.vms),
    retention: defined.retention ?? retentionSchema.parse({}),
    initiatedBy: callerText(caller),
  });
  const definition = await writeDefinition(site, wanted);
  const fields: VpgFields = {
    definition,
    term: 1,
    role: "Journal",
    operationId: null,
    syncOperationId: null,
    openTests: [],
    powerOnDue: [],
    forgotten: [],
    lastSession: 0,
    ...(sourceGatewaysOf(definition).length > 1 ? { gatewaySessions: {} } : {}),
    opening: [],
    paused: false,
    journalFull: false,
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

function numbered(vms: readonly DefinedVm[]): VpgDefinition["vms"] {
  let volume = 0;
  return vms.map((vm) => ({
    ...vm,
    volumes: vm.volumes.map((entry) => {
      volume += 1;
      return { volume, ...entry };
    }),
  }));
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
