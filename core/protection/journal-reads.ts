import type { z } from "zod";
import type { BatchSummary, batchListSchema } from "#core/api/gateway-api.ts";
import { Forbidden, InvalidInput } from "#core/errors.ts";
import { parseBatchKey } from "#core/journal/keys.ts";
import { objectBytesMax } from "#core/journal/limits.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import { checkStored } from "#core/json.ts";
import type { ByteRange } from "#core/ports.ts";
import type { Caller, Site } from "#core/site.ts";
import { batchRowSchema } from "./batch-row.ts";
import { isSourceGateway } from "./definition.ts";
import { items } from "./items.ts";
import { progressOfSessions } from "./session-list.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** Who may read a VPG's blocks: its gateways, and operators. Throws `Forbidden`. */
export function assertMayRead(caller: Caller, { definition }: VpgRecord): void {
  const { gatewayId } = caller;
  if (caller.role === "operator") return;
  const own =
    gatewayId !== null && (gatewayId === definition.recoveryGatewayId || isSourceGateway(definition, gatewayId));
  if (!own) throw new Forbidden(`the journal of ${definition.name} is read by its gateways and by operators`);
}

const pageItems = 1000;

/**
 * A page of the valid journal's batches whose first sequence is at or before `upTo`, in order of position: for views. Only
 * unbroken runs are told, so that nothing fenced is ever read.
 */
export async function listBatches(
  site: Site,
  vpg: VpgRecord,
  upTo: Position,
  cursor?: string,
): Promise<z.infer<typeof batchListSchema>> {
  const sessions = await progressOfSessions(site, vpg.vpgId);
  const known = new Map(sessions.map(({ state, progress }) => [state.claim.session, { claim: state.claim, progress }]));
  const { pk } = items.batch(vpg.vpgId, 0, 0);
  const page = await site.table.query(pk, cursor === undefined ? { limit: pageItems } : { limit: pageItems, cursor });
  const batches: BatchSummary[] = [];
  for (const item of page.items) {
    const row = checkStored(batchRowSchema, item.fields, "a batch's item");
    const session = Number(item.sk.split("-")[0]);
    const facts = known.get(session);
    if (facts === undefined || row.batch >= facts.progress.batches || row.term !== facts.claim.term) continue;
    if (comparePositions({ session, sequence: row.firstSequence }, upTo) > 0) return { batches };
    const { term, batch, firstSequence, lastSequence, bytes, touched } = row;
    batches.push({ term, session, batch, firstSequence, lastSequence, bytes, touched });
  }
  return page.cursor === undefined ? { batches } : { batches, cursor: page.cursor };
}

/** Bytes of a journal object of this VPG. Throws `InvalidInput` for any other key, `NotFound`. */
export function readJournalObject(site: Site, vpg: VpgRecord, key: string, range?: ByteRange): Promise<Uint8Array> {
  if (parseBatchKey(key)?.vpgId !== vpg.vpgId) {
    throw new InvalidInput(`not a journal object of ${vpg.definition.name}: "${key.slice(0, 128)}"`, { field: "key" });
  }
  const whole = { offset: 0, length: objectBytesMax };
  const { offset, length } = range ?? whole;
  return site.objects.get(key, { offset, length: Math.min(length, objectBytesMax) });
}
