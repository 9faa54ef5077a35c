import { InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { definitionPrefix } from "#core/journal/keys.ts";
import { parseStored } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { Site } from "#core/site.ts";
import { type VpgDefinition as Definition, definitionSchema, sourceGatewaysOf } from "./definition.ts";
import { gatewayNamed } from "./definition-input.ts";
import type { StoredOffer } from "./offer.ts";

/** What an offer makes of a VPG at the site that takes it. */
export interface Transposed {
  readonly definition: Definition;
  /** The gateways here that may have the old disks; none when they are said to be lost. */
  readonly gateways: readonly Id[];
}

/**
 * The VPG the other way round: captured by the gateway that is named like the peer's recovery gateway, recovered by the one named
 * like its source gateway, protected at `peerName`. Volumes keep their numbers; boot order and delays stay. The number of the
 * revision is above all that this bucket knows. Throws `InvalidInput` naming a gateway that has no identity here.
 */
export async function transpose(site: Site, offer: StoredOffer, peerName: string): Promise<Transposed> {
  const { definition, gatewayLost, vpgId } = offer;
  const { recoveryGatewayName, sourceGatewayName } = definition;
  if (recoveryGatewayName === null) {
    throw new InvalidInput(`${definition.name} has no gateway that runs its volumes, so nothing could be captured`);
  }
  const gateways: Id[] = [];
  if (!gatewayLost) {
    for (const { name } of sourceGatewaysOf(definition)) gateways.push(await gatewayNamed(site, name));
  }
  const [recovery = null] = gateways;
  const wanted = {
    ...definition,
    revision: definition.revision + 1,
    protectedSite: peerName,
    sourceGatewayId: await gatewayNamed(site, recoveryGatewayName),
    sourceGatewayName: recoveryGatewayName,
    recoveryGatewayId: recovery,
    recoveryGatewayName: recovery === null ? null : sourceGatewayName,
    compute: recovery === null ? "none" : "gateway",
    vms: definition.vms.map(({ sourceGateway: _, ...vm }) => vm),
    initiatedBy: offer.initiatedBy,
  };
  const newest = await newestDefinition(site, vpgId);
  const revision = newest === undefined ? wanted.revision : nextRevision(newest, wanted);
  return { definition: definitionSchema.parse({ ...wanted, revision, captureRevision: revision }), gateways };
}

/** The newest one's when that says the same: an offer that was cut off here goes on with what it wrote. */
function nextRevision(newest: Definition, wanted: object): number {
  const same = { ...wanted, revision: newest.revision, captureRevision: newest.revision };
  const equal = JSON.stringify(definitionSchema.parse(same)) === JSON.stringify(newest);
  return equal ? newest.revision : newest.revision + 1;
}

async function newestDefinition({ objects }: Site, vpgId: Id): Promise<Definition | undefined> {
  let newest: string | undefined;
  for await (const { key } of listAll(objects, definitionPrefix(vpgId))) newest = key;
  return newest === undefined ? undefined : parseStored(definitionSchema, await objects.get(newest), newest);
}
