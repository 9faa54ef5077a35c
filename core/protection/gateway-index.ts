import { type Id, idSchema } from "#core/ids.ts";
import type { TableAction, TableKey } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { sourceGatewaysOf, type VpgDefinition } from "./definition.ts";
import { items } from "./items.ts";
import type { VpgRecord } from "./vpg-record.ts";
import { findVpg } from "./vpg-store.ts";

/**
 * One item for each gateway of a VPG, source and recovery, so that a heartbeat finds what concerns its gateway without looking
 * at other VPGs. Written in the transaction that shows the VPG, removed in the one that hides it.
 */
export function indexGateways(definition: VpgDefinition): TableAction[] {
  return keysOf(definition).map((put) => ({ put, fields: {} }));
}

export function unindexGateways(definition: VpgDefinition): TableAction[] {
  return keysOf(definition).map((key) => ({ delete: key }));
}

/** A gateway that is both source and recovery has one item. */
function keysOf(definition: VpgDefinition): readonly TableKey[] {
  const gateways = new Set(sourceGatewaysOf(definition).map(({ gatewayId }) => gatewayId));
  if (definition.recoveryGatewayId !== null) gateways.add(definition.recoveryGatewayId);
  return [...gateways].map((gatewayId) => items.gatewayVpg(gatewayId, definition.vpgId));
}

/** The VPGs that the gateway captures or recovers, without deleted ones. */
export async function vpgsOfGateway(site: Site, gatewayId: Id): Promise<ReadonlyMap<Id, VpgRecord>> {
  const vpgs = new Map<Id, VpgRecord>();
  const { pk } = items.gatewayVpg(gatewayId, "");
  let cursor: string | undefined;
  do {
    const page = await site.table.query(pk, cursor === undefined ? {} : { cursor });
    const records = await Promise.all(page.items.map(({ sk }) => findVpg(site, idSchema.parse(sk))));
    for (const record of records) if (record !== undefined && !record.deleted) vpgs.set(record.vpgId, record);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return vpgs;
}
