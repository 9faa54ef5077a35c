import { heartbeatSchema } from "#core/api/gateway-api.ts";
import { type Id, newId } from "#core/ids.ts";
import { parsePosition } from "#core/journal/position.ts";
import { pinCheckpoint, unpinCheckpoint } from "#core/protection/checkpoints.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { sealSessionsOf } from "#core/protection/seal.ts";
import { mintTerm, type NewTerm } from "#core/protection/terms.ts";
import { changeVpg, getVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Caller, Site } from "#core/site.ts";

/**
 * What a live failover to the checkpoint makes of the journal when it is committed, without its VMs: what lies behind is the lost
 * tail of the operation that it answers with. Throws `NoCheckpoint` when the checkpoint can't be pinned.
 */
export async function failOverTo(site: Site, vpgId: Id, checkpointId: string): Promise<Id> {
  const operationId = newId(site.clock, site.random);
  await pinCheckpoint(site, vpgId, checkpointId, operationId);
  const { term } = await getVpg(site, vpgId);
  const fork = [parsePosition(checkpointId)];
  await nextTerm(site, vpgId, { runs: site.siteId, journal: null, fork, operationId }, "Runs");
  await sealSessionsOf(site, { vpgId }, term, "failover-committed", { term: term + 1, session: 0 });
  await unpinCheckpoint(site, vpgId, checkpointId, operationId);
  return operationId;
}

/** From here on the VPG is journaled here again; what comes between at another site leaves nothing here. */
export function journalAgain(site: Site, vpgId: Id): Promise<VpgRecord> {
  return nextTerm(site, vpgId, { runs: "protected", journal: site.siteId, fork: [], operationId: null }, "Journal");
}

async function nextTerm(site: Site, vpgId: Id, claim: Omit<NewTerm, "n">, role: VpgRecord["role"]): Promise<VpgRecord> {
  const vpg = await getVpg(site, vpgId);
  const { n } = await mintTerm(site, vpg, { n: vpg.term + 1, ...claim });
  return changeVpg(site, vpgId, () => ({ term: n, role }));
}

/** A heartbeat of a gateway whose clock is the site's, so that two clocks agree. */
export async function hear(site: Site, caller: Caller): Promise<void> {
  const now = site.clock.now();
  const processId = newId(site.clock, site.random);
  const beat = { version: "1", sampledAt: now, siteTime: now, processId, streams: [], attachedOperations: [] };
  await acceptHeartbeat(site, caller, heartbeatSchema.parse(beat));
}
