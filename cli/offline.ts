import { existsSync } from "node:fs";
import { join } from "node:path";
import { FileObjects } from "#adapters/embedded/objects.ts";
import type { CheckpointView } from "#core/api/site-api.ts";
import { AmbiguousCheckpoint, Corrupt, InvalidInput, NoCheckpoint, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { annotationPrefix, parseAnnotationKey, parseDefinitionKey, termPrefix } from "#core/journal/keys.ts";
import { formatPosition } from "#core/journal/position.ts";
import type { JournalProblem } from "#core/journal/verify-journal.ts";
import { parseStored } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { Objects } from "#core/ports.ts";
import type { Checkpoint } from "#core/protection/checkpoint.ts";
import { definitionSchema, type VpgDefinition } from "#core/protection/definition.ts";
import { readIdentity } from "#core/protection/identity.ts";
import { bucketKeys } from "#core/protection/keys.ts";
import { LostTails } from "#core/protection/lost-tails.ts";
import type { CheckpointSelector } from "#core/protection/operation.ts";
import { type Term, termSchema } from "#core/protection/term.ts";

/** A VPG as its bucket alone shows it (invariant 3): no site, no table, no token. */
export interface OfflineVpg {
  readonly objects: Objects;
  readonly definition: VpgDefinition;
  readonly journal: BucketJournal;
  readonly lostTails: LostTails;
}

/** The bucket in a site's data directory, or in its `objects` folder itself. Throws `InvalidInput` when there is none. */
export async function openBucket(directory: string): Promise<Objects> {
  const root = [join(directory, "objects"), directory].find((path) => existsSync(join(path, "site.json")));
  if (root === undefined) {
    throw new InvalidInput(
      `${directory} is no site's data directory: neither it nor its objects folder holds a site.json`,
    );
  }
  return await FileObjects.open(root, { readOnly: true });
}

/** A VPG that has a definition's name in the bucket. */
export interface OfflineDefinition {
  readonly vpgId: string;
  /** The newest that can be read; undefined when none can. */
  readonly definition: VpgDefinition | undefined;
  /** Revisions that the store changed. */
  readonly damaged: readonly JournalProblem[];
}

/** Every VPG in the bucket; one that is damaged hides none of the others. */
export async function offlineDefinitions(objects: Objects): Promise<readonly OfflineDefinition[]> {
  const found = new Map<string, OfflineDefinition>();
  for await (const { key } of listAll(objects, "vpgs/")) {
    const vpgId = parseDefinitionKey(key)?.vpgId;
    if (vpgId === undefined) continue;
    const known = found.get(vpgId) ?? { vpgId, definition: undefined, damaged: [] };
    const read = await readDefinition(objects, key);
    // Names sort by revision: the last one that can be read is the newest.
    if ("error" in read) found.set(vpgId, { ...known, damaged: [...known.damaged, read] });
    else found.set(vpgId, { ...known, definition: read });
  }
  return [...found.values()];
}

async function readDefinition(objects: Objects, key: string): Promise<VpgDefinition | JournalProblem> {
  try {
    return parseStored(definitionSchema, await objects.get(key), key);
  } catch (error) {
    if (!(error instanceof Corrupt)) throw error;
    return { key, error: error.name, message: error.message };
  }
}

export async function openOfflineVpg(directory: string, ref: string): Promise<OfflineVpg> {
  const objects = await openBucket(directory);
  const found = await offlineDefinitions(objects);
  const definitions = found.flatMap(({ definition }) => definition ?? []);
  const definition =
    definitions.find((each) => each.vpgId === ref) ??
    (await theOneOf(
      objects,
      definitions.filter((each) => each.name === ref),
    ));
  if (definition === undefined) {
    const [damaged] = found.flatMap((each) => each.damaged);
    const there = `no VPG ${ref} in ${directory}; it holds ${definitions.map((each) => each.name).join(", ") || "none"}`;
    if (damaged === undefined) throw new NotFound(there);
    throw new Corrupt(`${there}, and what can't be read: ${damaged.message}`, { key: damaged.key });
  }
  const journal = await BucketJournal.open(objects, definition.vpgId);
  return { objects, definition, journal, lostTails: await lostTailsIn(objects, journal) };
}

/** A name may be that of deleted VPGs too, whose journals stay for a while. Throws `InvalidInput` when only ids tell them apart. */
async function theOneOf(objects: Objects, called: readonly VpgDefinition[]): Promise<VpgDefinition | undefined> {
  if (called.length < 2) return called[0];
  const heads = await Promise.all(called.map(({ vpgId }) => objects.head(bucketKeys.deletedVpg(vpgId))));
  const kept = called.filter((_, index) => heads[index] === undefined);
  if (kept.length === 1) return kept[0];
  const which = called.map(({ vpgId }, index) => (heads[index] === undefined ? vpgId : `${vpgId} (deleted)`));
  throw new InvalidInput(
    `several VPGs in the bucket are called ${called[0]?.name}; say which by its id: ${which.join(", ")}`,
  );
}

/** What commits left behind, as far as terms can be read: one that is damaged hides nothing of what can be recovered. */
async function lostTailsIn(objects: Objects, { vpgId, sessions }: BucketJournal): Promise<LostTails> {
  const gateways = new Map(sessions.map(({ claim }) => [claim.session, claim.gatewayId]));
  const terms: Term[] = [];
  for await (const { key } of listAll(objects, termPrefix(vpgId))) {
    try {
      terms.push(parseStored(termSchema, await objects.get(key), key));
    } catch (error) {
      if (!(error instanceof Corrupt)) throw error;
    }
  }
  const forked = terms.some(({ fork }) => fork.length > 0);
  const siteId = forked ? (await readIdentity(objects)).siteId : "";
  return new LostTails(siteId, terms, (session) => gateways.get(session));
}

export interface OfflineCheckpoints {
  /** Exactly those that the site lists, newest first, with the tags that tests gave them; with damage, those before it. */
  readonly checkpoints: readonly CheckpointView[];
  readonly damage: Corrupt | undefined;
}

export async function offlineCheckpoints(directory: string, ref: string, lostTail?: Id): Promise<OfflineCheckpoints> {
  const vpg = await openOfflineVpg(directory, ref);
  return { checkpoints: await viewsOf(vpg, lostTail), damage: damageOf(vpg) };
}

function damageOf({ journal, definition }: OfflineVpg): Corrupt | undefined {
  if (journal.damage === undefined) return undefined;
  const { message, details } = journal.damage;
  return new Corrupt(
    `the journal of ${definition.name} is damaged: ${message}. What came later rests on it and is not shown; ` +
      "checkpoints before it can be taken by their ids",
    details,
    { cause: journal.damage },
  );
}

async function viewsOf(
  { objects, journal, definition, lostTails }: OfflineVpg,
  lostTail: Id | undefined,
): Promise<readonly CheckpointView[]> {
  const annotations = await tagsOf(objects, definition.vpgId);
  return journal
    .checkpoints()
    .filter((checkpoint) => lostTails.takes({ position: checkpoint, term: checkpoint.term }, lostTail))
    .map((checkpoint) => ({
      id: checkpoint.id,
      time: checkpoint.time,
      validThrough: checkpoint.time,
      tags: [...(checkpoint.tag === "" ? [] : [checkpoint.tag]), ...(annotations.get(checkpoint.id) ?? [])],
      pins: 0,
    }))
    .reverse();
}

async function tagsOf(objects: Objects, vpgId: Id): Promise<ReadonlyMap<string, readonly string[]>> {
  const tags = new Map<string, string[]>();
  for await (const { key } of listAll(objects, annotationPrefix(vpgId))) {
    const parsed = parseAnnotationKey(key);
    if (parsed === undefined) continue;
    const value: unknown = JSON.parse(Buffer.from(await objects.get(key)).toString("utf8"));
    const tag = typeof value === "object" && value !== null && "tag" in value ? String(value.tag) : undefined;
    const id = formatPosition(parsed.position);
    if (tag !== undefined) tags.set(id, [...(tags.get(id) ?? []), tag]);
  }
  return tags;
}

/**
 * As the site resolves it. Throws `NoCheckpoint` or `AmbiguousCheckpoint`; of a damaged journal only an id says which one is
 * meant, for anything else it throws `Corrupt`.
 */
export async function resolveOffline(
  vpg: OfflineVpg,
  selector: CheckpointSelector,
  lostTail?: Id,
): Promise<Checkpoint> {
  const damage = damageOf(vpg);
  if (damage !== undefined && selector.kind !== "id") throw damage;
  const found = choose(await viewsOf(vpg, lostTail), selector);
  const [first, second] = found;
  if (first === undefined) {
    throw damage ?? new NoCheckpoint("no such checkpoint in this directory; checkpoint list --offline shows them");
  }
  if (second !== undefined) {
    throw new AmbiguousCheckpoint(
      `several checkpoints fit: ${found.map((each) => each.id).join(", ")}; take one by its id`,
    );
  }
  const known = vpg.journal.checkpoints().find((each: Checkpoint) => each.id === first.id);
  if (known === undefined) throw new NoCheckpoint(`no checkpoint ${first.id}`);
  return known;
}

function choose(newestFirst: readonly CheckpointView[], selector: CheckpointSelector): readonly CheckpointView[] {
  switch (selector.kind) {
    case "latest":
      return newestFirst.slice(0, 1);
    case "id":
      return newestFirst.filter((each) => each.id === selector.id);
    case "tag":
      return newestFirst.filter((each) => each.tags.includes(selector.tag));
    case "time":
      return newestFirst.filter((each) => each.time <= selector.time).slice(0, 1);
  }
}
