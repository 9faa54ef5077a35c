import type { EditVpg } from "#core/api/site-api.ts";
import { DefinitionChanged, InvalidInput, OperationInProgress, TableBehindBucket } from "#core/errors.ts";
import { bytesEqual } from "#core/journal/hash.ts";
import { definitionKey, definitionPrefix } from "#core/journal/keys.ts";
import { jsonBytes } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { captureRevisionOf, sourceGatewaysOf, type VpgDefinition, vmsOfGateway, volumesOf } from "./definition.ts";
import { definedBy } from "./definition-input.ts";
import { assertNoneForgotten } from "./forgotten.ts";
import { indexGateways, unindexGateways } from "./gateway-index.ts";
import { findGateway, streamOf } from "./gateway-store.ts";
import { type Revised, reviseDefinition } from "./revise-definition.ts";
import { assertTableCurrent } from "./terms.ts";
import { tryAgain } from "./try-again.ts";
import { getVpg, updateVpg, type VpgRecord } from "./vpg-store.ts";

export interface EditedVpg extends Revised {
  readonly vpg: VpgRecord;
}

/**
 * Gives a VPG another definition, or says what that would change. The write into the table decides between two editors, and
 * between an editor and an operation; the bucket gets the revision before anything can name it. Throws `DefinitionChanged` (the
 * definition is not the one that was edited any more), `OperationInProgress`, `TableBehindBucket`, `InvalidInput`.
 */
export function editVpg(site: Site, caller: Caller, ref: string, ask: EditVpg): Promise<EditedVpg> {
  return tryAgain(`VPG ${ref}`, async () => {
    const vpg = await getVpg(site, ref);
    const before = vpg.definition;
    const kept = before.retention === undefined ? {} : { retention: before.retention };
    const wanted = { ...kept, ...(await definedBy(site, ask.definition)) };
    const revised = reviseDefinition(before, wanted, callerText(caller));
    const { definition, changes } = revised;
    // A repetition of what was done, too, changes nothing.
    if (changes.length === 0) return { vpg, definition: before, changes };
    if (ask.revision !== before.revision) {
      throw new DefinitionChanged(
        `${before.name} was edited meanwhile by ${before.initiatedBy ?? "somebody"}: its definition is revision ` +
          `${before.revision}, not ${ask.revision}; look at what it is now, and edit that`,
        { revision: before.revision },
      );
    }
    assertMayEdit(vpg, definition);
    await refuseGrowth(site, before, definition);
    if (ask.dryRun) return { ...revised, vpg };
    await assertTableCurrent(site, vpg);
    await assertDefinitionCurrent(site, before);
    const edited = await updateVpg(site, vpg, { definition }, reindex(before, definition));
    await storeDefinition(site, definition);
    site.log.info("vpg-edited", {
      ...{ vpgId: vpg.vpgId, revision: definition.revision, changes: [...changes], initiatedBy: callerText(caller) },
    });
    return { ...revised, vpg: edited };
  });
}

function assertMayEdit(vpg: VpgRecord, wanted: VpgDefinition): void {
  const { name, recoveryGatewayId, compute } = vpg.definition;
  if (vpg.operationId !== null) throw busy(name, vpg.operationId, "end it first");
  assertNoneForgotten(vpg);
  const captures = captureRevisionOf(vpg.definition) !== captureRevisionOf(wanted);
  if (vpg.syncOperationId !== null && captures) {
    throw busy(name, vpg.syncOperationId, "it compares the volumes as they are; edit them when it has ended");
  }
  const [test] = vpg.openTests;
  if (test !== undefined && (recoveryGatewayId !== wanted.recoveryGatewayId || compute !== wanted.compute)) {
    throw busy(name, test, "its volumes are served by the gateway that this edit takes away; stop the test first");
  }
  if (vpg.role !== "Journal") {
    throw new InvalidInput(
      `${name} is not protected at this site (its role here is ${vpg.role}): edit it at its peer`,
      {
        role: vpg.role,
      },
    );
  }
}

/** Recovered disks can't grow, and what a definition let grow can't be taken back. Throws `InvalidInput`. */
async function refuseGrowth(site: Site, before: VpgDefinition, after: VpgDefinition): Promise<void> {
  const sizes = new Map(volumesOf(before).map(({ volume, sizeBytes }) => [volume, sizeBytes]));
  for (const { gatewayId, name } of sourceGatewaysOf(after)) {
    const own = vmsOfGateway(after, gatewayId).flatMap((vm) =>
      vm.volumes.map((each) => ({ ...each, vmName: vm.name })),
    );
    const grown = own.find(({ volume, sizeBytes }) => sizeBytes > (sizes.get(volume) ?? Number.POSITIVE_INFINITY));
    if (grown === undefined || streamOf(await findGateway(site, gatewayId), before.vpgId)?.recoveredDisks !== true)
      continue;
    throw new InvalidInput(
      `volume ${grown.vmName}/${grown.name} can't grow while gateway ${name} runs on recovered disks: make them those of its ` +
        "configuration file first, with farshore gateway disks adopt",
      { field: "sizeBytes" },
    );
  }
}

function busy(name: string, operationId: string, what: string): OperationInProgress {
  return new OperationInProgress(`${name} has an open operation ${operationId}: ${what}`, { operationId });
}

/**
 * A table that was restored from an older copy may lack revisions: their numbers must not be given again, nor VMs be recovered by what
 * they were before them. Throws `TableBehindBucket`.
 */
export async function assertDefinitionCurrent(site: Site, known: VpgDefinition): Promise<void> {
  if ((await site.objects.head(definitionKey(known.vpgId, known.revision))) === undefined) {
    await storeDefinition(site, known);
  }
  const after = definitionKey(known.vpgId, known.revision);
  const [newer] = await site.objects.list(definitionPrefix(known.vpgId), { after, limit: 1 });
  if (newer !== undefined) throw behind(known, newer.key);
}

/** Every gateway of the new definition has its item, and no other. */
function reindex(before: VpgDefinition, after: VpgDefinition): readonly TableAction[] {
  const put = indexGateways(after);
  const kept = new Set(put.map((action) => ("put" in action ? action.put.pk : "")));
  const gone = unindexGateways(before).filter((action) => "delete" in action && !kept.has(action.delete.pk));
  return [...put, ...gone];
}

/** The definition as a bucket object; what was cut off between table and bucket is completed by whoever needs it next. */
export async function storeDefinition(site: Pick<Site, "objects">, definition: VpgDefinition): Promise<void> {
  const key = definitionKey(definition.vpgId, definition.revision);
  const bytes = jsonBytes(definition);
  if ((await site.objects.put(key, bytes, { ifAbsent: true })) === "created") return;
  if (!bytesEqual(await site.objects.get(key), bytes)) throw behind(definition, key);
}

function behind({ name, vpgId }: VpgDefinition, key: string): TableBehindBucket {
  return new TableBehindBucket(
    `the bucket has ${key}, which the table doesn't know: the table is of an older time; ` +
      `farshore site rebuild makes it again from the bucket (${name})`,
    { vpgId },
  );
}
