import { Corrupt } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { annotationPrefix, parseAnnotationKey, parseDefinitionKey } from "#core/journal/keys.ts";
import { digestOf, newestManifestInBucket } from "#core/journal/manifest.ts";
import { sessionClaims } from "#core/journal/session-walk.ts";
import { parseStored, tableFields } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { Site } from "#core/site.ts";
import { annotationSchema } from "./annotation.ts";
import { authorityOf, storedOffer } from "./authority.ts";
import { credentialActions, credentialSchema } from "./credentials.ts";
import { definitionSchema, sourceGatewaysOf, type VpgDefinition } from "./definition.ts";
import { indexGateways } from "./gateway-index.ts";
import { items } from "./items.ts";
import { bucketKeys } from "./keys.ts";
import type { StoredOffer } from "./offer.ts";
import { livePeers, readPeers } from "./peers.ts";
import { type Notes, rebuildSession } from "./rebuild-session.ts";
import { highestTerm, termsOf } from "./terms.ts";
import { fieldsOf, type VpgFields } from "./vpg-record.ts";

/** What a rebuild works with: nothing runs meanwhile. */
export type BareSite = Pick<Site, "siteId" | "objects" | "table" | "clock">;

export interface RebuiltVpg {
  readonly vpgId: Id;
  readonly name: string;
  readonly deleted: boolean;
  readonly term: number;
  readonly role: string;
  readonly sessions: number;
  readonly batches: number;
  readonly checkpoints: number;
}

export interface RebuiltSite {
  readonly vpgs: readonly RebuiltVpg[];
  readonly tokens: number;
  readonly peers: number;
}

/**
 * Fills an empty table from the bucket alone: definitions, terms, sessions with their unbroken runs, notes, tokens, peers. What is
 * only of today is not there: heartbeats, commands, operations under way and their pins, pauses, and until when an idle
 * checkpoint was known to be valid (its own time stands for it). Throws `Corrupt` naming the object that can't be read.
 */
export async function rebuildTable(site: BareSite): Promise<RebuiltSite> {
  const vpgs: RebuiltVpg[] = [];
  for (const definition of await newestDefinitions(site)) {
    const rebuilt = await rebuildVpg(site, definition);
    if (rebuilt !== undefined) vpgs.push(rebuilt);
  }
  return { vpgs, tokens: await rebuildTokens(site), peers: await rebuildPeers(site) };
}

async function newestDefinitions(site: BareSite): Promise<readonly VpgDefinition[]> {
  const newest = new Map<string, VpgDefinition>();
  for await (const { key } of listAll(site.objects, bucketKeys.definitions)) {
    const parsed = parseDefinitionKey(key);
    if (parsed === undefined) throw new Corrupt(`${key} is not the name of a definition`, { key });
    newest.set(parsed.vpgId, parseStored(definitionSchema, await site.objects.get(key), key));
  }
  return [...newest.values()];
}

async function rebuildVpg(site: BareSite, definition: VpgDefinition): Promise<RebuiltVpg | undefined> {
  const { vpgId, name } = definition;
  const term = await highestTerm(site, vpgId);
  // A creation that was cut off before its first term never was a VPG.
  if (term === undefined) return undefined;
  const deleted = (await site.objects.head(bucketKeys.deletedVpg(vpgId))) !== undefined;
  const notes = await readNotes(site, vpgId);
  const digest = await digestOf(site.objects, await newestManifestInBucket(site.objects, vpgId));
  let batches = 0;
  let checkpoints = digest?.fields.kept.length ?? 0;
  let sessions = 0;
  let lastSession = 0;
  let listed = 0;
  const gatewaySessions: Record<Id, number> = {};
  for await (const claim of sessionClaims(site.objects, vpgId)) {
    sessions += 1;
    lastSession = claim.session;
    gatewaySessions[idSchema.parse(claim.gatewayId)] = claim.session;
    const progress = await rebuildSession(site, vpgId, claim, notes, digest);
    batches += progress.batches;
    checkpoints += progress.checkpoints - (digest?.passedIn(claim.session) ?? 0);
    if (progress.checkpoints > 0) listed = Math.max(listed, claim.term);
  }
  const terms = await termsOf(site, vpgId);
  const authority = await authorityOf(site, vpgId, terms, { closed: 0, listed, busy: false });
  const { role } = authority.standing;
  const taken = authority.offers.some(({ term: { minter } }) => minter !== site.siteId);
  const seeded = Object.keys(gatewaySessions).some((gatewayId) => gatewayId !== definition.sourceGatewayId);
  const begun = role === "Preparing" ? storedOffer(authority, term.n, term.minter) : undefined;
  const fields: VpgFields = {
    definition,
    term: term.n,
    role,
    operationId: null,
    syncOperationId: null,
    openTests: [],
    powerOnDue: [],
    forgotten: [],
    lastSession,
    ...(sourceGatewaysOf(definition).length > 1 || taken || seeded ? { gatewaySessions } : {}),
    opening: [],
    paused: false,
    journalFull: false,
    deleted,
    needsConfiguration: role === "Runs",
    ...(begun === undefined ? {} : { reverse: reverseOf(begun) }),
    formatVersion: 1,
    createdAt: site.clock.now(),
  };
  await site.table.transact([
    { put: items.vpg(vpgId), fields: fieldsOf(fields) },
    // Ascending by id, so of two VPGs of one name the newer has it: it was made when the table had lost the other.
    ...(deleted ? [] : [{ put: items.vpgName(name), fields: { vpgId } }, ...indexGateways(definition)]),
  ]);
  return { vpgId, name, deleted, term: term.n, role, sessions, batches, checkpoints };
}

/** Of a term that has begun and has no checkpoint yet: the old disks may be in the journal or not, and are not asked for again. */
function reverseOf({ term, operationId, gatewayLost }: StoredOffer): NonNullable<VpgFields["reverse"]> {
  return { n: term.n, operationId, gateways: [], gatewayLost, closed: true, begun: true, attempt: 1 };
}

async function readNotes(site: BareSite, vpgId: Id): Promise<Notes> {
  const notes = new Map<string, { operationId: string; tag: string }[]>();
  for await (const { key } of listAll(site.objects, annotationPrefix(vpgId))) {
    if (parseAnnotationKey(key) === undefined) throw new Corrupt(`${key} is not the name of a note`, { key });
    const { checkpointId, operationId, tag } = parseStored(annotationSchema, await site.objects.get(key), key);
    const list = notes.get(checkpointId) ?? [];
    list.push({ operationId, tag });
    notes.set(checkpointId, list);
  }
  return notes;
}

async function rebuildTokens(site: BareSite): Promise<number> {
  let count = 0;
  for await (const { key } of listAll(site.objects, bucketKeys.tokens)) {
    const record = parseStored(credentialSchema, await site.objects.get(key), key);
    await site.table.transact([
      { put: items.tokenName(record.name), fields: tableFields(record) },
      ...credentialActions(record),
    ]);
    count += 1;
  }
  return count;
}

/** Removed ones too, so that the next revision of the name is the next number. */
async function rebuildPeers(site: BareSite): Promise<number> {
  const revisions = await readPeers(site.objects);
  for (const revision of revisions) {
    await site.table.transact([{ put: items.peer(revision.name), fields: tableFields(revision) }]);
  }
  return livePeers(revisions).length;
}
