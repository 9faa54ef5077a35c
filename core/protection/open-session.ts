import type { OpenSession, OpenSessionReply } from "#core/api/gateway-api.ts";
import {
  ConditionFailed,
  DuplicateGateway,
  Fenced,
  Forbidden,
  InvalidInput,
  NotFound,
  RecoverySiteRegressed,
  VolumesDiffer,
} from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { parseSessionClaimKey, sessionClaimKey, sessionClaimPrefix } from "#core/journal/keys.ts";
import type { Position } from "#core/journal/position.ts";
import { encodeSessionClaim, type SessionClaim } from "#core/journal/session-claim.ts";
import type { TableAction } from "#core/ports.ts";
import type { Caller, Site } from "#core/site.ts";
import {
  captureRevisionOf,
  isSourceGateway,
  sourceGatewaysOf,
  type VmVolume,
  vmsOfGateway,
  volumesOf,
} from "./definition.ts";
import { storeDefinition } from "./edit-vpg.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import { assertMayPreseed } from "./preseed.ts";
import { isCaptured } from "./reverse-journal.ts";
import { runGrant } from "./run-grant.ts";
import { type Following, sealSession } from "./seal.ts";
import { progressOfSessions } from "./session-list.ts";
import { type SessionProgress, startOf } from "./session-progress.ts";
import { readClaim, sessionAction } from "./session-store.ts";
import { assertTableCurrent } from "./terms.ts";
import { tryAgain } from "./try-again.ts";
import { lastSessionOf, sessionFields, takesSessions } from "./vpg-record.ts";
import { findVpg, updateVpg, type VpgRecord } from "./vpg-store.ts";

/**
 * R4: opens a session for a gateway that starts; this call is also its run grant (R17). Its session before is sealed first
 * (those of the VPG's other source gateways go on), then the new one's object is created, then the table knows it. The same
 * nonce gets the same session again, also when an earlier call was cut off anywhere. Throws `Forbidden`, `Fenced`,
 * `RunGrantRefused`, `TableBehindBucket`, `DuplicateGateway`, `RecoverySiteRegressed`, `InvalidInput`; `VolumesDiffer` when nothing
 * else is in the way, so that the run is granted all the same.
 */
export function openSession(site: Site, caller: Caller, ask: OpenSession): Promise<OpenSessionReply> {
  return tryAgain(`VPG ${ask.vpgId}`, () => attempt(site, caller, ask));
}

async function attempt(site: Site, caller: Caller, ask: OpenSession): Promise<OpenSessionReply> {
  const vpg = await findVpg(site, ask.vpgId);
  if (vpg === undefined) throw new NotFound(`no VPG ${ask.vpgId} at this site`, { vpgId: ask.vpgId });
  const { gatewayId } = caller;
  const seeds = ask.purpose === "seed";
  if (gatewayId === null || !(seeds ? isSeedGateway(vpg, gatewayId) : isSourceGateway(vpg.definition, gatewayId))) {
    const names = sourceGatewaysOf(vpg.definition).map((gateway) => gateway.name);
    throw new Forbidden(`${vpg.definition.name} is captured by gateway ${names.join(", ")}, not by you`);
  }
  if (vpg.deleted || !takesSessions(vpg)) throw over(vpg);
  await assertTableCurrent(site, vpg);
  const grant = await runGrant(site, vpg);
  const current = await recordUnfinished(site, vpg);
  if (seeds) await assertMaySeed(site, current);
  const lastSession = lastSessionOf(current, gatewayId);
  const last = lastSession === 0 ? undefined : await readClaim(site, vpg.vpgId, lastSession);
  const repeated = last?.nonce === ask.nonce;
  const adopted = repeated || (await checkOrdinal(site, gatewayId, current, ask));
  const volumes = seeds ? seedVolumes(vpg, ask) : matchVolumes(vpg, gatewayId, ask);
  // Its answer was lost, and the VPG may have been edited since.
  if (repeated && sameVolumes(last, volumes)) return replyFor(site, current, last);

  const following = { term: current.term, session: Math.max(current.lastSession, ask.lastSession) + 1 };
  const before = last && (await sealSession(site, current, last.term, last.session, "session-opened", following));
  if (last !== undefined && before !== undefined) checkRegression(current, ask, lastSession, before);
  if (!seeds && seedsMayBe(current, gatewayId)) await sealSeeds(site, current, gatewayId, following);
  const claim: SessionClaim = {
    formatVersion: 4,
    vpgId: vpg.vpgId,
    term: following.term,
    session: following.session,
    gatewayId,
    nonce: ask.nonce,
    openedAt: site.clock.now(),
    configRevision: captureRevisionOf(vpg.definition),
    continues: !seeds && !adopted && last?.term === following.term && continues(ask, last, before, volumes),
    volumes: volumes.map(({ volume, sizeBytes, sectorBytes }) => ({ volume, sizeBytes, sectorBytes })),
    ...(seeds ? { seed: true } : sharedFields(vpg, lastSession)),
  };
  // An edit that was cut off has the table only: a session names nothing that the bucket lacks.
  if (claim.configRevision > 1 && claim.configRevision === vpg.definition.revision) {
    await storeDefinition(site, vpg.definition);
  }
  // The nonce is noted first: if this call is cut off, the claim in the bucket is known to be ours.
  const opening = [...current.opening, ask.nonce].slice(-limits.openingsMax);
  const noted = await updateVpg(site, current, { opening }, grant);
  const created = await site.objects.put(sessionClaimKey(vpg.vpgId, claim.session), encodeSessionClaim(claim), {
    ifAbsent: true,
  });
  if (created === "exists") throw new ConditionFailed(`session ${claim.session} was opened by another call`);
  const recorded = await record(site, noted, claim, [...grant, { delete: items.gatewayAdoption(gatewayId) }]);
  site.log.info("session-opened", { vpgId: vpg.vpgId, session: claim.session, continues: claim.continues });
  return replyFor(site, recorded, claim);
}

/** The gateway has old disks of the VPG that a term which has just begun may come from (R16), or copies before there was any term before. */
function isSeedGateway({ reverse, role, definition }: VpgRecord, gatewayId: Id): boolean {
  if (role === "Journal") return gatewayId === definition.recoveryGatewayId;
  return reverse?.gateways.includes(gatewayId) === true;
}

/** Nothing comes in behind the running disks: seeds are of the time before. Throws `ProtectionBegan`, `Fenced`. */
async function assertMaySeed(site: Site, vpg: VpgRecord): Promise<void> {
  if (vpg.role === "Journal") assertMayPreseed(vpg);
  else if (await isCaptured(site, vpg)) throw over(vpg);
}

/** There may be sessions of seeds that this session of a source gateway follows. */
const seedsMayBe = (vpg: VpgRecord, source: Id): boolean =>
  vpg.role === "Preparing" || (vpg.lastSession > 0 && lastSessionOf(vpg, source) === 0);

/** What seeds have brought stays as it is once the running disks are compared with it. */
async function sealSeeds(site: Site, vpg: VpgRecord, source: Id, following: Following): Promise<void> {
  const sources = new Set<string>([source, ...sourceGatewaysOf(vpg.definition).map(({ gatewayId }) => gatewayId)]);
  for (const { state } of await progressOfSessions(site, vpg.vpgId)) {
    const { term, session, gatewayId } = state.claim;
    if (term !== vpg.term || sources.has(gatewayId)) continue;
    await sealSession(site, vpg, term, session, "session-opened", following);
  }
}

/** The volumes that the gateway has old disks of: any of the VPG's, as they are defined. */
function seedVolumes(vpg: VpgRecord, ask: OpenSession): readonly VmVolume[] {
  const volumes = ask.volumes.map((offered) =>
    volumesOf(vpg.definition).find(
      ({ vmName, name, sizeBytes, sectorBytes }) =>
        vmName === offered.vmName &&
        name === offered.name &&
        sizeBytes === offered.sizeBytes &&
        sectorBytes === offered.sectorBytes,
    ),
  );
  const known = volumes.filter((volume) => volume !== undefined);
  if (known.length === volumes.length && new Set(known).size === known.length) return known;
  throw new InvalidInput(`the seeds are not all volumes of ${vpg.definition.name} with their sizes`, {
    field: "volumes",
  });
}

function over(vpg: VpgRecord): Fenced {
  const why = vpg.deleted
    ? "was deleted"
    : vpg.role === "Runs"
      ? "was failed over: this site runs it now"
      : `has no journal at this site (its role here is ${vpg.role})`;
  return new Fenced(
    `${vpg.definition.name} ${why}; this gateway must not serve its volumes read-write. ` +
      `Remove the VPG from the gateway's configuration, or protect it anew`,
    { vpgId: vpg.vpgId, term: vpg.term },
  );
}

function record(site: Site, vpg: VpgRecord, claim: SessionClaim, extra: readonly TableAction[]): Promise<VpgRecord> {
  const rows = sessionAction(claim, vpg.vpgId, startOf(claim));
  return updateVpg(site, vpg, { ...sessionFields(vpg, claim), opening: [] }, [rows, ...extra]);
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

/** What the object of a source's session says when the VPG has several source gateways. */
function sharedFields(
  { definition }: VpgRecord,
  previous: number,
): Partial<Pick<SessionClaim, "previous" | "gateways">> {
  const gateways = sourceGatewaysOf(definition).map((gateway) => gateway.gatewayId);
  return gateways.length === 1 ? {} : { previous, gateways };
}

/** The gateway's volumes by the definition, after those it has were found to be the same. Throws `VolumesDiffer` naming each difference. */
function matchVolumes(vpg: VpgRecord, gatewayId: Id, ask: OpenSession): readonly VmVolume[] {
  const defined = volumesOf({ vms: [...vmsOfGateway(vpg.definition, gatewayId)] });
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
  for (const extra of offered.keys()) wrong.push(`${extra} is not of this VPG, or of another gateway`);
  if (wrong.length === 0) return defined;
  throw new VolumesDiffer(
    `the gateway's volumes differ from the definition of ${vpg.definition.name}: ${wrong.slice(0, 10).join("; ")}`,
    { vpgId: vpg.vpgId },
  );
}

/**
 * The gateway's last session must be the site's. Lower: another process opened one since, so two run with one identity,
 * or the state directory was lost; only a person knows. Higher: the site lost sessions. True when a person made the
 * gateway's token again, which accepts whatever it knows.
 */
async function checkOrdinal(site: Site, gatewayId: Id, vpg: VpgRecord, ask: OpenSession): Promise<boolean> {
  const known = lastSessionOf(vpg, gatewayId);
  if (ask.lastSession === known) return false;
  const name = sourceGatewaysOf(vpg.definition).find((gateway) => gateway.gatewayId === gatewayId)?.name ?? gatewayId;
  if (ask.lastSession > vpg.lastSession + limits.sessionsLostMax) {
    throw new InvalidInput(`lastSession: this site knows ${name} up to session ${known} only`, {
      field: "lastSession",
    });
  }
  if (ask.lastSession > known) {
    if (ask.acceptRegression) return true;
    throw new RecoverySiteRegressed(
      `this site knows ${vpg.definition.name} up to session ${known}, the gateway up to ${ask.lastSession}`,
      { session: known },
    );
  }
  if ((await site.table.get(items.gatewayAdoption(gatewayId))) !== undefined) return true;
  throw new DuplicateGateway(
    `session ${known} of ${vpg.definition.name} was opened by another gateway with the identity of ` +
      `${name}; this one knows session ${ask.lastSession}. If the other one is stopped for good, or this one's state ` +
      `directory was lost: farshore token create --role gateway --name ${name}, and start this gateway with the new token`,
    { session: known },
  );
}

/** What was acknowledged must be there, unless the gateway has accepted the loss and compares everything again. */
function checkRegression(vpg: VpgRecord, ask: OpenSession, last: number, before: SessionProgress): void {
  const lost = ask.lastSession === last && ask.acknowledgedBatch >= before.batches;
  if (!lost || ask.acceptRegression) return;
  throw new RecoverySiteRegressed(
    `this site holds ${before.batches} batches of session ${last} of ${vpg.definition.name}; ` +
      `batch ${ask.acknowledgedBatch} had been acknowledged`,
    { session: last, batches: before.batches },
  );
}

/** The disks are as the journal has them: the session before ended by a close with all its volumes synced, and they are these. */
function continues(
  ask: OpenSession,
  last: SessionClaim | undefined,
  before: SessionProgress | undefined,
  volumes: readonly VmVolume[],
): boolean {
  if (!ask.cleanlyClosed || last === undefined || before === undefined) return false;
  if (ask.lastSession !== last.session || ask.acceptRegression) return false;
  if (!before.closed || before.syncing.length > 0 || before.end !== "sealed") return false;
  return sameVolumes(last, volumes);
}

function sameVolumes({ volumes: then }: SessionClaim, volumes: readonly VmVolume[]): boolean {
  const same = (volume: VmVolume) =>
    then.some((other) => other.volume === volume.volume && other.sizeBytes === volume.sizeBytes);
  return then.length === volumes.length && volumes.every(same);
}

async function replyFor(site: Site, vpg: VpgRecord, claim: SessionClaim): Promise<OpenSessionReply> {
  const own = new Set(claim.volumes.map(({ volume }) => volume));
  const journalEnd = await endBefore(site, vpg, claim);
  return {
    term: claim.term,
    session: claim.session,
    continues: claim.continues,
    sync: claim.continues ? "none" : journalEnd.session === 0 ? "initial" : "delta",
    journalEnd,
    configRevision: claim.configRevision,
    checkpointIntervalMs: vpg.definition.checkpointIntervalMs,
    volumes: volumesOf(vpg.definition)
      .filter(({ volume }) => own.has(volume))
      .map((volume) => ({ ...volume })),
    ...barrierOf(vpg, claim),
  };
}

/** Whose acknowledgements are held together with this gateway's (R11). */
function barrierOf({ definition }: VpgRecord, claim: SessionClaim): Pick<OpenSessionReply, "barrier"> {
  if (claim.gateways === undefined) return {};
  return { barrier: { gatewayId: idSchema.parse(claim.gatewayId), gateways: [...sourceGatewaysOf(definition)] } };
}

/** The last record of the journal of the session's volumes before it, whichever gateway wrote it; zeros when there is none. */
async function endBefore(site: Site, vpg: VpgRecord, { session, volumes }: SessionClaim): Promise<Position> {
  const sessions = await progressOfSessions(site, vpg.vpgId);
  const own = new Set(volumes.map(({ volume }) => volume));
  const last = sessions.findLast(
    ({ state: { claim }, progress }) =>
      claim.session < session && progress.batches > 0 && claim.volumes.some(({ volume }) => own.has(volume)),
  );
  if (last === undefined) return { session: 0, sequence: 0 };
  return { session: last.state.claim.session, sequence: last.progress.lastSequence };
}
