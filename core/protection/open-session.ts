import type { OpenSession, OpenSessionReply } from "#core/api/gateway-api.ts";
import {
  ConditionFailed,
  DuplicateGateway,
  Fenced,
  Forbidden,
  InvalidInput,
  NotFound,
  RecoverySiteRegressed,
} from "#core/errors.ts";
import { parseSessionClaimKey, sessionClaimKey, sessionClaimPrefix } from "#core/journal/keys.ts";
import type { Position } from "#core/journal/position.ts";
import { encodeSessionClaim, type SessionClaim } from "#core/journal/session-claim.ts";
import type { TableAction } from "#core/ports.ts";
import type { Caller, Site } from "#core/site.ts";
import { type VmVolume, volumesOf } from "./definition.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import { runGrant } from "./run-grant.ts";
import { sealSession } from "./seal.ts";
import { progressOfSessions } from "./session-list.ts";
import { type SessionProgress, startOf } from "./session-progress.ts";
import { readClaim, sessionAction } from "./session-store.ts";
import { assertTableCurrent } from "./terms.ts";
import { tryAgain } from "./try-again.ts";
import { findVpg, updateVpg, type VpgRecord } from "./vpg-store.ts";

/**
 * R4: opens a session for a gateway that starts; this call is also its run grant (R17). The session before is sealed
 * first, then the new one's object is created, then the table knows it. The same nonce gets the same session again, also
 * when an earlier call was cut off anywhere. Throws `Forbidden`, `Fenced`, `RunGrantRefused`, `TableBehindBucket`,
 * `DuplicateGateway`, `RecoverySiteRegressed`, `InvalidInput`.
 */
export function openSession(site: Site, caller: Caller, ask: OpenSession): Promise<OpenSessionReply> {
  return tryAgain(`VPG ${ask.vpgId}`, () => attempt(site, caller, ask));
}

async function attempt(site: Site, caller: Caller, ask: OpenSession): Promise<OpenSessionReply> {
  const vpg = await findVpg(site, ask.vpgId);
  if (vpg === undefined) throw new NotFound(`no VPG ${ask.vpgId} at this site`, { vpgId: ask.vpgId });
  if (caller.gatewayId === null || caller.gatewayId !== vpg.definition.sourceGatewayId) {
    throw new Forbidden(
      `${vpg.definition.name} is captured by gateway ${vpg.definition.sourceGatewayName}, not by you`,
    );
  }
  if (vpg.deleted || vpg.role !== "Journal") throw over(vpg);
  await assertTableCurrent(site, vpg);
  const grant = await runGrant(site, vpg);
  const volumes = matchVolumes(vpg, ask);
  const current = await recordUnfinished(site, vpg);
  const last = current.lastSession === 0 ? undefined : await readClaim(site, vpg.vpgId, current.lastSession);
  if (last?.nonce === ask.nonce) return replyFor(site, current, last);

  const adopted = await checkOrdinal(site, caller, current, ask);
  const following = { term: current.term, session: Math.max(current.lastSession, ask.lastSession) + 1 };
  const before = last && (await sealSession(site, current, last.term, last.session, "session-opened", following));
  if (last !== undefined && before !== undefined) checkRegression(current, ask, before);
  const claim: SessionClaim = {
    formatVersion: 1,
    vpgId: vpg.vpgId,
    term: following.term,
    session: following.session,
    gatewayId: caller.gatewayId,
    nonce: ask.nonce,
    openedAt: site.clock.now(),
    configRevision: vpg.definition.revision,
    continues: !adopted && continues(ask, current, last, before, volumes),
    volumes: volumes.map(({ volume, sizeBytes, sectorBytes }) => ({ volume, sizeBytes, sectorBytes })),
  };
  // The nonce is noted first: if this call is cut off, the claim in the bucket is known to be ours.
  const opening = [...current.opening, ask.nonce].slice(-limits.openingsMax);
  const noted = await updateVpg(site, current, { opening }, grant);
  const created = await site.objects.put(sessionClaimKey(vpg.vpgId, claim.session), encodeSessionClaim(claim), {
    ifAbsent: true,
  });
  if (created === "exists") throw new ConditionFailed(`session ${claim.session} was opened by another call`);
  const recorded = await record(site, noted, claim, [...grant, { delete: items.gatewayAdoption(caller.gatewayId) }]);
  site.log.info("session-opened", { vpgId: vpg.vpgId, session: claim.session, continues: claim.continues });
  return replyFor(site, recorded, claim);
}

function over(vpg: VpgRecord): Fenced {
  const why = vpg.deleted ? "was deleted" : "was failed over: this site runs it now";
  return new Fenced(
    `${vpg.definition.name} ${why}; this gateway must not serve its volumes read-write. ` +
      `Remove the VPG from the gateway's configuration, or protect it anew`,
    { vpgId: vpg.vpgId, term: vpg.term },
  );
}

function record(site: Site, vpg: VpgRecord, claim: SessionClaim, extra: readonly TableAction[]): Promise<VpgRecord> {
  const rows = sessionAction(claim, vpg.vpgId, startOf(claim));
  return updateVpg(site, vpg, { lastSession: claim.session, opening: [] }, [rows, ...extra]);
}

/** An open that was cut off between the bucket and the table; `assertTableCurrent` has made sure that it was ours. */
async function recordUnfinished(site: Site, vpg: VpgRecord): Promise<VpgRecord> {
  if (vpg.opening.length === 0) return vpg;
  const after = sessionClaimKey(vpg.vpgId, vpg.lastSession);
  const [next] = await site.objects.list(sessionClaimPrefix(vpg.vpgId), { after, limit: 1 });
  const session = next && parseSessionClaimKey(next.key)?.session;
  const claim = session === undefined ? undefined : await readClaim(site, vpg.vpgId, session);
  return claim === undefined ? vpg : record(site, vpg, claim, []);
}

/** The definition's volumes, after the gateway's were found to be the same. Throws `InvalidInput` naming each difference. */
function matchVolumes(vpg: VpgRecord, ask: OpenSession): readonly VmVolume[] {
  const defined = volumesOf(vpg.definition);
  const text = (entry: { vmName: string; name: string }) => `${entry.vmName}/${entry.name}`;
  const offered = new Map(ask.volumes.map((entry) => [text(entry), entry]));
  const wrong: string[] = offered.size === ask.volumes.length ? [] : ["a volume stands twice"];
  for (const volume of defined) {
    const entry = offered.get(text(volume));
    offered.delete(text(volume));
    if (entry === undefined) wrong.push(`${text(volume)} is missing`);
    else if (entry.sizeBytes !== volume.sizeBytes)
      wrong.push(`${text(volume)} has ${entry.sizeBytes} bytes, not ${volume.sizeBytes}`);
    else if (entry.sectorBytes !== volume.sectorBytes)
      wrong.push(`${text(volume)} has sectors of ${entry.sectorBytes} bytes, not ${volume.sectorBytes}`);
  }
  for (const extra of offered.keys()) wrong.push(`${extra} is not of this VPG`);
  if (wrong.length === 0) return defined;
  throw new InvalidInput(
    `the gateway's volumes differ from the definition of ${vpg.definition.name}: ${wrong.slice(0, 10).join("; ")}`,
    { field: "volumes" },
  );
}

/**
 * The gateway's last session must be the site's. Lower: another process opened one since, so two run with one identity,
 * or the state directory was lost; only a person knows. Higher: the site lost sessions. True when a person made the
 * gateway's token again, which accepts whatever it knows.
 */
async function checkOrdinal(site: Site, caller: Caller, vpg: VpgRecord, ask: OpenSession): Promise<boolean> {
  if (ask.lastSession === vpg.lastSession) return false;
  const name = vpg.definition.sourceGatewayName;
  if (ask.lastSession > vpg.lastSession + limits.sessionsLostMax) {
    throw new InvalidInput(`lastSession: this site knows ${name} up to session ${vpg.lastSession} only`, {
      field: "lastSession",
    });
  }
  if (ask.lastSession > vpg.lastSession) {
    if (ask.acceptRegression) return true;
    throw new RecoverySiteRegressed(
      `this site knows ${vpg.definition.name} up to session ${vpg.lastSession}, the gateway up to ${ask.lastSession}`,
      { session: vpg.lastSession },
    );
  }
  const adoption = caller.gatewayId && (await site.table.get(items.gatewayAdoption(caller.gatewayId)));
  if (adoption) return true;
  throw new DuplicateGateway(
    `session ${vpg.lastSession} of ${vpg.definition.name} was opened by another gateway with the identity of ` +
      `${name}; this one knows session ${ask.lastSession}. If the other one is stopped for good, or this one's state ` +
      `directory was lost: farshore token create --role gateway --name ${name}, and start this gateway with the new token`,
    { session: vpg.lastSession },
  );
}

/** What was acknowledged must be there, unless the gateway has accepted the loss and compares everything again. */
function checkRegression(vpg: VpgRecord, ask: OpenSession, before: SessionProgress): void {
  const lost = ask.lastSession === vpg.lastSession && ask.acknowledgedBatch >= before.batches;
  if (!lost || ask.acceptRegression) return;
  throw new RecoverySiteRegressed(
    `this site holds ${before.batches} batches of session ${vpg.lastSession} of ${vpg.definition.name}; ` +
      `batch ${ask.acknowledgedBatch} had been acknowledged`,
    { session: vpg.lastSession, batches: before.batches },
  );
}

/** The disks are as the journal has them: the session before ended by a close with all its volumes synced, and they are these. */
function continues(
  ask: OpenSession,
  vpg: VpgRecord,
  last: SessionClaim | undefined,
  before: SessionProgress | undefined,
  volumes: readonly VmVolume[],
): boolean {
  if (!ask.cleanlyClosed || last === undefined || before === undefined) return false;
  if (ask.lastSession !== vpg.lastSession || ask.acceptRegression) return false;
  if (!before.closed || before.syncing.length > 0 || before.end !== "sealed") return false;
  const same = (volume: VmVolume) =>
    last.volumes.some((other) => other.volume === volume.volume && other.sizeBytes === volume.sizeBytes);
  return last.volumes.length === volumes.length && volumes.every(same);
}

async function replyFor(site: Site, vpg: VpgRecord, claim: SessionClaim): Promise<OpenSessionReply> {
  const journalEnd = await endBefore(site, vpg, claim.session);
  return {
    term: claim.term,
    session: claim.session,
    continues: claim.continues,
    sync: claim.continues ? "none" : journalEnd.session === 0 ? "initial" : "delta",
    journalEnd,
    configRevision: claim.configRevision,
    checkpointIntervalMs: vpg.definition.checkpointIntervalMs,
    volumes: volumesOf(vpg.definition).map((volume) => ({ ...volume })),
  };
}

/** The last record of the journal before a session; zeros when there is none. */
async function endBefore(site: Site, vpg: VpgRecord, session: number): Promise<Position> {
  const sessions = await progressOfSessions(site, vpg.vpgId);
  const last = sessions.findLast(({ state, progress }) => state.claim.session < session && progress.batches > 0);
  if (last === undefined) return { session: 0, sequence: 0 };
  return { session: last.state.claim.session, sequence: last.progress.lastSequence };
}
