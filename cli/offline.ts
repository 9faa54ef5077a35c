import { existsSync } from "node:fs";
import { join } from "node:path";
import { FileObjects } from "#adapters/embedded/objects.ts";
import type { CheckpointView } from "#core/api/site-api.ts";
import { AmbiguousCheckpoint, InvalidInput, NoCheckpoint, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { annotationPrefix, parseAnnotationKey, parseDefinitionKey } from "#core/journal/keys.ts";
import { formatPosition, type Position } from "#core/journal/position.ts";
import { listAll } from "#core/list-all.ts";
import type { Objects } from "#core/ports.ts";
import type { Checkpoint } from "#core/protection/checkpoint.ts";
import { definitionSchema, type VpgDefinition } from "#core/protection/definition.ts";
import type { CheckpointSelector } from "#core/protection/operation.ts";

/** A VPG as its bucket alone shows it (invariant 3): no site, no table, no token. */
export interface OfflineVpg {
  readonly objects: Objects;
  readonly definition: VpgDefinition;
  readonly journal: BucketJournal;
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

/** The newest definition of each VPG in the bucket. */
export async function offlineDefinitions(objects: Objects): Promise<readonly VpgDefinition[]> {
  const newest = new Map<Id, VpgDefinition>();
  for await (const { key } of listAll(objects, "vpgs/")) {
    if (parseDefinitionKey(key) === undefined) continue;
    const definition = definitionSchema.parse(JSON.parse(Buffer.from(await objects.get(key)).toString("utf8")));
    const known = newest.get(definition.vpgId);
    if (known === undefined || known.revision < definition.revision) newest.set(definition.vpgId, definition);
  }
  return [...newest.values()];
}

export async function openOfflineVpg(directory: string, ref: string): Promise<OfflineVpg> {
  const objects = await openBucket(directory);
  const definitions = await offlineDefinitions(objects);
  const definition = definitions.find((each) => each.name === ref || each.vpgId === ref);
  if (definition === undefined) {
    throw new NotFound(
      `no VPG ${ref} in ${directory}; it holds ${definitions.map((each) => each.name).join(", ") || "none"}`,
    );
  }
  return { objects, definition, journal: await BucketJournal.open(objects, definition.vpgId) };
}

/** Exactly the checkpoints that the site lists, newest first, with the tags that tests gave them. */
export async function offlineCheckpoints(directory: string, ref: string): Promise<readonly CheckpointView[]> {
  const vpg = await openOfflineVpg(directory, ref);
  return await viewsOf(vpg);
}

async function viewsOf({ objects, journal, definition }: OfflineVpg): Promise<readonly CheckpointView[]> {
  const annotations = await tagsOf(objects, definition.vpgId);
  return journal
    .checkpoints()
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

/** As the site resolves it. Throws `NoCheckpoint` or `AmbiguousCheckpoint`. */
export async function resolveOffline(
  vpg: OfflineVpg,
  selector: CheckpointSelector,
): Promise<Position & { readonly id: string }> {
  const found = choose(await viewsOf(vpg), selector);
  const [first, second] = found;
  if (first === undefined)
    throw new NoCheckpoint("no such checkpoint in this directory; checkpoint list --offline shows them");
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
