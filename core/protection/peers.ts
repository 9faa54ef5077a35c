import { ConditionFailed, Corrupt, InvalidInput, LimitExceeded, NotFound } from "#core/errors.ts";
import { checkStored, jsonBytes, parseStored, tableFields } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { Objects, TableItem } from "#core/ports.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { items } from "./items.ts";
import { bucketKeys } from "./keys.ts";
import { protectionLimits as limits } from "./limits.ts";
import {
  type AddPeer,
  endPeer,
  type Peer,
  type PeerRevision,
  peerRevisionSchema,
  peerSchema,
  revisePeer,
} from "./peer.ts";
import { tryAgain } from "./try-again.ts";
import { listVpgs } from "./vpg-store.ts";

/** Makes a peer known, or changes what is known of it; idempotent. Throws `InvalidInput` (`revisePeer`), `LimitExceeded`. */
export async function addPeer(site: Site, input: AddPeer, caller: Caller): Promise<Peer> {
  const { name, url, siteId } = input;
  if (siteId === site.siteId) {
    throw new InvalidInput(`at ${url} this very site answers; a peer is another one`, { field: "url" });
  }
  const others = (await listPeers(site)).filter((peer) => peer.name !== name);
  if (others.length >= limits.peersMax) throw new LimitExceeded(`a site has at most ${limits.peersMax} peers`);
  const by = byOf(site, caller);
  const added = await change(site, name, (current) => revisePeer(current, input, by));
  site.log.info("peer-added", { name, url, siteId: added.siteId, initiatedBy: by.initiatedBy });
  return peerSchema.parse(added);
}

/** Idempotent. Throws `NotFound` for a name that never was a peer's, `InvalidInput` while a VPG names it as its protected site. */
export async function removePeer(site: Site, name: string, caller: Caller): Promise<void> {
  const protects = (await listVpgs(site)).filter(({ definition }) => definition.protectedSite === name);
  const by = byOf(site, caller);
  await change(site, name, (current) => {
    if (current === undefined) throw noPeer(name);
    const revision = endPeer(current, by);
    if (revision === undefined || protects.length === 0) return revision;
    const vpgs = protects.map(({ definition }) => definition.name).join(", ");
    throw new InvalidInput(`"${name}" is the protected site of ${vpgs}; a peer goes when no VPG names it`, { vpgs });
  });
  site.log.info("peer-removed", { name, initiatedBy: by.initiatedBy });
}

const byOf = (site: Site, caller: Caller): Pick<Peer, "changedAt" | "initiatedBy"> => ({
  changedAt: site.clock.now(),
  initiatedBy: callerText(caller),
});

/**
 * A revision counts once its object is created, and the table follows; cut off in between, the next change finds the object and
 * brings the table up to it first.
 */
function change(
  site: Site,
  name: string,
  decide: (current: PeerRevision | undefined) => PeerRevision | undefined,
): Promise<PeerRevision> {
  return tryAgain(`the peer ${name}`, async () => {
    const item = await site.table.get(items.peer(name));
    const current = item && revisionOf(item);
    const revision = decide(current);
    if (revision === undefined) return current ?? Promise.reject(noPeer(name));
    const key = bucketKeys.peer(name, revision.revision);
    const put = await site.objects.put(key, jsonBytes(revision), { ifAbsent: true });
    const stands = put === "created" ? revision : parseStored(peerRevisionSchema, await site.objects.get(key), key);
    const condition = item === undefined ? ({ absent: true } as const) : { rev: item.rev };
    await site.table.transact([{ put: items.peer(name), fields: tableFields(stands), if: condition }]);
    if (put === "created") return stands;
    throw new ConditionFailed(`revision ${revision.revision} of the peer ${name} stands already`);
  });
}

const revisionOf = (item: TableItem): PeerRevision =>
  checkStored(peerRevisionSchema, item.fields, `the item of peer ${item.sk}`);

function noPeer(name: string): NotFound {
  return new NotFound(`no peer "${name}" at this site; farshore site peer list shows them`, { peer: name });
}

/** Undefined for a name that is no peer's, or no longer. */
export async function findPeer(site: Site, name: string): Promise<Peer | undefined> {
  const item = await site.table.get(items.peer(name));
  const revision = item && revisionOf(item);
  return revision?.removed === false ? peerSchema.parse(revision) : undefined;
}

/** Throws `NotFound`. */
export async function getPeer(site: Site, name: string): Promise<Peer> {
  const peer = await findPeer(site, name);
  if (peer === undefined) throw noPeer(name);
  return peer;
}

/** By name. */
export async function listPeers(site: Site): Promise<readonly Peer[]> {
  const revisions: PeerRevision[] = [];
  let cursor: string | undefined;
  do {
    const page = await site.table.query("peer", cursor === undefined ? {} : { cursor });
    revisions.push(...page.items.map(revisionOf));
    cursor = page.cursor;
  } while (cursor !== undefined);
  return livePeers(revisions);
}

/** Without those that were removed. */
export function livePeers(revisions: readonly PeerRevision[]): readonly Peer[] {
  return revisions.filter(({ removed }) => !removed).map((revision) => peerSchema.parse(revision));
}

/** The newest revision of every name in the bucket, by name. Throws `Corrupt` naming the object that can't be read. */
export async function readPeers(objects: Objects): Promise<readonly PeerRevision[]> {
  const newest = new Map<string, string>();
  for await (const { key } of listAll(objects, bucketKeys.peers)) {
    const [, name] = /^peers\/([^/]+)\/\d{10}\.json$/.exec(key) ?? [];
    if (name === undefined) throw new Corrupt(`${key} is not the name of a peer's revision`, { key });
    newest.set(name, key);
  }
  const read = [...newest.values()].map(async (key) => parseStored(peerRevisionSchema, await objects.get(key), key));
  return (await Promise.all(read)).sort((left, right) => (left.name < right.name ? -1 : 1));
}
