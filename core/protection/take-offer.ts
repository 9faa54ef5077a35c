import { ConditionFailed, Forbidden, InvalidInput, OperationInProgress } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { TableAction } from "#core/ports.ts";
import type { Caller, Site } from "#core/site.ts";
import { type Authority, readAuthority, storedOffer, writeAll } from "./authority.ts";
import { storeDefinition } from "./edit-vpg.ts";
import { assertNoneForgotten } from "./forgotten.ts";
import { indexGateways, unindexGateways } from "./gateway-index.ts";
import { items } from "./items.ts";
import type { OfferReply, StoredOffer } from "./offer.ts";
import { type Peer, reverseProblem } from "./peer.ts";
import { listPeers } from "./peers.ts";
import { type Answer, type Refusal, receive, stateOf } from "./reverse.ts";
import { advanceReverse, offerReply } from "./reverse-journal.ts";
import { sealSessionsOf } from "./seal.ts";
import { type Transposed, transpose } from "./transpose.ts";
import { tryAgain } from "./try-again.ts";
import { fieldsOf, type VpgFields, type VpgRecord } from "./vpg-record.ts";
import { findVpg, updateVpg } from "./vpg-store.ts";

/**
 * R16 P2 and P3 at the site that is to get the journal. Everything that can be refused is refused before anything is closed; the
 * offer's object is what takes it. Each repetition goes on with what is left to do and says how far that is. Throws `Forbidden`
 * for whoever isn't the peer that offers, `InvalidInput` naming what this site lacks, `PeerHasNoJournal`.
 */
export async function takeOffer(site: Site, caller: Caller, offer: StoredOffer): Promise<OfferReply> {
  const peer = await peerOf(site, caller, offer.term.minter);
  const { vpgId, term } = offer;
  const vpg = await findVpg(site, vpgId);
  if (vpg?.deleted === true) throw new InvalidInput(`${vpg.definition.name} was deleted at site ${site.siteName}`);
  const authority = await readAuthority(site, vpgId, vpg);
  const { writes, answer } = receive(authority.standing, { kind: "offer", from: term.minter, offer });
  if (answer.state === "refused") return refused(site, authority, vpg, offer, answer);
  const pending = writes.length > 0 || authority.standing.pending?.term.n === term.n;
  if (!pending) return offerReply(site, vpg, term.n, answer);
  const whole = storedOffer(authority, term.n, term.minter) ?? offer;
  const transposed = await transpose(site, whole, peer.name);
  await assertNameFree(site, whole);
  await endOwnTerm(site, authority);
  await writeAll(site, { vpgId, minter: term.minter }, writes, whole);
  await storeDefinition(site, transposed.definition);
  const taken = await tryAgain(`VPG ${vpgId}`, () => recordTaken(site, whole, transposed));
  site.log.info("reverse-offer-taken", { vpgId, term: term.n, from: peer.name });
  return advanceAndReply(site, taken, term.n);
}

/** R16 P4 as this site hears of it: the term stands here too and its sessions are taken. */
export async function hearStarted(site: Site, caller: Caller, vpgId: Id, n: number): Promise<OfferReply> {
  const { vpg, authority, minter } = await heard(site, caller, vpgId);
  const { writes, answer } = receive(authority.standing, { kind: "started", from: minter, n });
  if (vpg === undefined) return offerReply(site, vpg, n, answer);
  const stands = answer.state === "preparing" && vpg.reverse?.n === n && !vpg.reverse.begun;
  if (writes.length === 0 && !stands) return advanceAndReply(site, vpg, n);
  // The table has lost what was taken; the offer itself, said again, brings it back.
  if (vpg.reverse?.n !== n) return offerReply(site, vpg, n, { state: "unknown", refusal: null });
  await writeAll(site, { vpgId, minter }, writes);
  const begun = await tryAgain(`VPG ${vpgId}`, async () => {
    const record = await findVpg(site, vpgId);
    if (record?.reverse?.n !== n) throw new ConditionFailed(`term ${n} is no more what ${vpgId} waits for`);
    if (record.reverse.begun) return record;
    return updateVpg(site, record, { term: n, role: "Preparing", reverse: { ...record.reverse, begun: true } });
  });
  site.log.info("reverse-term-begun", { vpgId, term: n });
  return advanceAndReply(site, begun, n);
}

/** The peer took its offer back. The gateways stay closed: the VPG runs at the peer. */
export async function hearWithdrawn(site: Site, caller: Caller, vpgId: Id, n: number): Promise<OfferReply> {
  const { vpg, authority, minter } = await heard(site, caller, vpgId);
  const { writes, answer } = receive(authority.standing, { kind: "withdrawn", from: minter, n });
  await writeAll(site, { vpgId, minter }, writes);
  if (vpg === undefined) return offerReply(site, vpg, n, answer);
  const left = await tryAgain(`VPG ${vpgId}`, async () => {
    const record = await findVpg(site, vpgId);
    if (record?.reverse?.n !== n || record.reverse.begun) return record;
    const { reverse: _, ...rest } = record;
    await site.table.transact([
      { put: items.vpg(vpgId), fields: fieldsOf({ ...rest, role: "Retired" }), if: { rev: record.rev } },
    ]);
    return findVpg(site, vpgId);
  });
  site.log.info("reverse-offer-withdrawn", { vpgId, term: n });
  return offerReply(site, left, n, answer);
}

async function heard(site: Site, caller: Caller, vpgId: Id) {
  const peer = await callingPeer(site, caller);
  const vpg = await findVpg(site, vpgId);
  return { vpg, authority: await readAuthority(site, vpgId, vpg), minter: idSchema.parse(peer.siteId) };
}

async function advanceAndReply(site: Site, vpg: VpgRecord, n: number): Promise<OfferReply> {
  const advanced = await advanceReverse(site, vpg);
  const { standing } = await readAuthority(site, vpg.vpgId, advanced);
  return offerReply(site, advanced, n, stateOf(standing, n));
}

/** The peer whose token or IAM role the caller shows: registered under the peer's own name. */
async function callingPeer(site: Site, caller: Caller): Promise<Peer> {
  const [name = ""] = caller.name.split("/");
  const peer = (await listPeers(site)).find((one) => one.name === name && one.siteId !== null);
  if (caller.role === "peer" && peer !== undefined) return peer;
  throw new Forbidden(
    `no peer of site ${site.siteName} is known as "${name}" with the identity of its site; ` +
      `farshore site peer add ${name}, by the name that its token or IAM role has here`,
    { peer: name },
  );
}

async function peerOf(site: Site, caller: Caller, minter: Id): Promise<Peer> {
  const peer = await callingPeer(site, caller);
  if (peer.siteId !== minter) {
    throw new Forbidden(`the offer is of site ${minter}, and ${peer.name} is ${peer.siteId}`, { peer: peer.name });
  }
  // Later it must be able to go home.
  const problem = reverseProblem(peer.name, peer);
  if (problem !== undefined) throw problem;
  return peer;
}

const reasons: Readonly<Record<Refusal, string>> = {
  "number-used": "a newer term or offer is known here",
  "not-descended": "it doesn't go on from what this site knows of the VPG",
  keyholder: "this site itself holds the authority over the VPG",
  busy: "an operation of the VPG is open here",
};

function refused(
  site: Site,
  { standing }: Authority,
  vpg: VpgRecord | undefined,
  { term }: StoredOffer,
  answer: Answer,
): Promise<OfferReply> {
  const why = answer.refusal === null ? "" : reasons[answer.refusal];
  site.log.info("reverse-offer-refused", { vpgId: term.vpgId, term: term.n, refusal: answer.refusal });
  const known = `the newest term here is ${standing.highest?.n ?? 0}, the highest number ${standing.burnt}`;
  return offerReply(site, vpg, term.n, answer, `${why} (${known})`);
}

async function assertNameFree(site: Site, { vpgId, definition }: StoredOffer): Promise<void> {
  const item = await site.table.get(items.vpgName(definition.name));
  if (item === undefined || item.fields["vpgId"] === vpgId) return;
  throw new InvalidInput(
    `site ${site.siteName} has another VPG named "${definition.name}"; rename or delete one of them`,
    {
      field: "name",
    },
  );
}

/** A term whose journal never came to be takes no batches any more, from whichever gateway they come late. */
async function endOwnTerm(site: Site, { standing: { highest } }: Authority): Promise<void> {
  if (highest?.journal !== site.siteId) return;
  await sealSessionsOf(site, { vpgId: highest.vpgId }, highest.n, "operator");
}

async function recordTaken(site: Site, offer: StoredOffer, { definition, gateways }: Transposed): Promise<VpgRecord> {
  const { vpgId, term, operationId, gatewayLost, lineage } = offer;
  const before = await findVpg(site, vpgId);
  if (before?.reverse?.n === term.n) return before;
  if (before !== undefined && (before.operationId !== null || before.openTests.length > 0)) {
    throw new OperationInProgress(`${before.definition.name} has an operation under way at ${site.siteName}`);
  }
  if (before !== undefined) assertNoneForgotten(before);
  const sessions = before?.gatewaySessions ?? sessionsOf(before);
  const fields: VpgFields = {
    ...{ definition, term: lineage.at(-1)?.n ?? 1, role: "Retired", operationId: null, syncOperationId: null },
    ...{
      openTests: [],
      powerOnDue: [],
      forgotten: [],
      journalFull: false,
      lastSession: before?.lastSession ?? 0,
      gatewaySessions: sessions,
      opening: [],
    },
    ...{ paused: false, deleted: false, needsConfiguration: false, formatVersion: 1 },
    reverse: {
      ...{
        n: term.n,
        operationId,
        gateways: [...gateways],
        gatewayLost,
        closed: gatewayLost,
        begun: false,
        attempt: 1,
      },
    },
    createdAt: before?.createdAt ?? site.clock.now(),
  };
  const condition = before === undefined ? ({ absent: true } as const) : { rev: before.rev };
  const index = indexGateways(definition);
  const kept = new Set(index.map((action) => ("put" in action ? action.put.pk : "")));
  const gone = before === undefined ? [] : unindexGateways(before.definition);
  const actions: TableAction[] = [
    { put: items.vpg(vpgId), fields: fieldsOf(fields), if: condition },
    { put: items.vpgName(definition.name), fields: { vpgId } },
    ...index,
    ...gone.filter((action) => "delete" in action && !kept.has(action.delete.pk)),
  ];
  await site.table.transact(actions);
  return { ...fields, vpgId, rev: (before?.rev ?? 0) + 1 };
}

/** Ordinals go on: the one source gateway until now has the newest. */
function sessionsOf(before: VpgRecord | undefined): Record<Id, number> {
  if (before === undefined || before.lastSession === 0) return {};
  return { [before.definition.sourceGatewayId]: before.lastSession };
}
