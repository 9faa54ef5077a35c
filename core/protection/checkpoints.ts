import { AmbiguousCheckpoint, NoCheckpoint } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { annotationKey } from "#core/journal/keys.ts";
import { formatPosition, type Position, parsePosition } from "#core/journal/position.ts";
import { jsonBytes, tableFields } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import type { Annotation } from "./annotation.ts";
import type { CheckpointState } from "./batch-row.ts";
import { CheckpointBranch } from "./checkpoint-branch.ts";
import { type ListedCheckpoint, rowOfItem, tagsOf } from "./checkpoint-row.ts";
import { CheckpointScan } from "./checkpoint-scan.ts";
import { sourceGatewaysOf, volumesOf } from "./definition.ts";
import { definitionOfCheckpoint } from "./definition-at.ts";
import { items } from "./items.ts";
import type { CheckpointSelector } from "./operation.ts";
import { leaseOf, livePins, withoutLeases } from "./pins.ts";
import { getSession } from "./session-store.ts";
import { tryAgain } from "./try-again.ts";
import type { VpgRecord } from "./vpg-record.ts";

export type { ListedCheckpoint } from "./checkpoint-row.ts";

export interface CheckpointFilter {
  /** Source times, inclusive. */
  readonly from?: number;
  readonly to?: number;
  readonly tagged?: boolean;
  readonly limit?: number;
  readonly cursor?: string;
  /** Instead of the history, what the commit of that operation left behind. */
  readonly lostTail?: Id;
}

export interface CheckpointPage {
  readonly checkpoints: readonly ListedCheckpoint[];
  readonly cursor?: string;
  /** Over all listed ones of the history or the lost tail, whatever else the filter. */
  readonly total: number;
  readonly oldestTime: number | null;
  readonly newestTime: number | null;
}

const pageDefault = 100;
const pageMost = 1000;

/** The valid checkpoints (R12), newest first. The cursor goes on after the last one of the page before. */
export async function listCheckpoints(site: Site, vpgId: Id, filter: CheckpointFilter = {}): Promise<CheckpointPage> {
  const scan = await CheckpointBranch.open(site, vpgId, filter.lostTail);
  const limit = Math.min(filter.limit ?? pageDefault, pageMost);
  const checkpoints: ListedCheckpoint[] = [];
  for await (const checkpoint of scan.newestFirst(filter.cursor)) {
    if (filter.from !== undefined && checkpoint.time < filter.from) continue;
    if (filter.to !== undefined && checkpoint.time > filter.to) continue;
    if (filter.tagged === true && checkpoint.tags.length === 0) continue;
    checkpoints.push(checkpoint);
    if (checkpoints.length === limit) break;
  }
  const { total, oldest, newest } = await scan.summary();
  const page = { checkpoints, total, oldestTime: oldest?.time ?? null, newestTime: newest?.time ?? null };
  const last = checkpoints.at(-1);
  if (checkpoints.length < limit || last === undefined) return page;
  return { ...page, cursor: items.batch(vpgId, last.position.session, last.position.sequence).sk };
}

/** The listed checkpoint whose time is nearest, as a page of at most one. */
export async function nearestCheckpoint(site: Site, vpgId: Id, time: number): Promise<CheckpointPage> {
  const scan = await CheckpointBranch.open(site, vpgId);
  let nearest: ListedCheckpoint | undefined;
  for await (const checkpoint of scan.newestFirst()) {
    const closer = nearest === undefined || Math.abs(checkpoint.time - time) < Math.abs(nearest.time - time);
    if (closer) nearest = checkpoint;
  }
  const { total, oldest, newest } = await scan.summary();
  const checkpoints = nearest === undefined ? [] : [nearest];
  return { checkpoints, total, oldestTime: oldest?.time ?? null, newestTime: newest?.time ?? null };
}

/**
 * The one checkpoint that is meant. A time means the greatest at or before it. Throws `NoCheckpoint` saying what is there,
 * `AmbiguousCheckpoint` listing the candidates when a tag was used twice or the source's clock stepped back over the time. With
 * `lostTail` it is one that the commit of that operation left behind; nobody else is ever given such a one.
 */
export async function resolveCheckpoint(
  site: Site,
  vpgId: Id,
  selector: CheckpointSelector,
  lostTail?: Id,
): Promise<ListedCheckpoint> {
  const scan = await CheckpointBranch.open(site, vpgId, lostTail);
  const empty =
    lostTail === undefined
      ? "there is none yet; wait until the first sync has ended (farshore status)"
      : `a commit of operation ${lostTail} left none behind that is here still`;
  switch (selector.kind) {
    case "latest": {
      const { newest } = await scan.summary();
      const found = newest && (await scan.at(newest.position));
      return found ?? none(scan, empty);
    }
    case "id": {
      const position = parsePosition(selector.id);
      return (await scan.at(position)) ?? none(scan, `none has the id ${selector.id}`);
    }
    case "time":
      return byTime(scan, selector.time);
    case "tag":
      return byTag(scan, selector.tag);
  }
}

async function byTime(scan: CheckpointBranch, time: number): Promise<ListedCheckpoint> {
  let last: ListedCheckpoint | undefined;
  let latest: ListedCheckpoint | undefined;
  for await (const checkpoint of scan.newestFirst()) {
    if (checkpoint.time > time) continue;
    last ??= checkpoint;
    if (latest === undefined || checkpoint.time > latest.time) latest = checkpoint;
  }
  const asked = new Date(time).toISOString();
  if (last === undefined || latest === undefined) return none(scan, `none is at or before ${asked}`);
  // By position and by time the same one is the last, unless the source's clock stepped back in between.
  if (last.id !== latest.id) throw ambiguous(`the source's clock stepped back before ${asked}`, [last, latest]);
  return last;
}

async function byTag(scan: CheckpointBranch, tag: string): Promise<ListedCheckpoint> {
  const found: ListedCheckpoint[] = [];
  const others = new Set<string>();
  for await (const checkpoint of scan.newestFirst()) {
    if (checkpoint.tags.includes(tag)) found.push(checkpoint);
    else if (others.size < 10) for (const other of checkpoint.tags) others.add(other);
  }
  const [first, second] = found;
  if (first === undefined) {
    const known = others.size === 0 ? "none has a tag" : `tags there are: ${[...others].join(", ")}`;
    return none(scan, `none has the tag "${tag}"; ${known}`);
  }
  if (second !== undefined) throw ambiguous(`${found.length} checkpoints have the tag "${tag}"`, found);
  return first;
}

async function none(scan: CheckpointBranch, why: string): Promise<never> {
  const { total, oldest, newest } = await scan.summary();
  const there =
    oldest === null || newest === null
      ? "no checkpoint is listed"
      : `${total} are listed, from ${new Date(oldest.time).toISOString()} to ${new Date(newest.time).toISOString()}`;
  throw new NoCheckpoint(`no such checkpoint: ${why} (${there}; farshore checkpoint list shows them)`, { total });
}

function ambiguous(why: string, found: readonly ListedCheckpoint[]): AmbiguousCheckpoint {
  const shown = found.slice(0, 10).map(({ id, time }) => `${id} of ${new Date(time).toISOString()}`);
  const more = found.length > shown.length ? " and more" : "";
  return new AmbiguousCheckpoint(`${why}: ${shown.join(", ")}${more}; choose one by its id`, {
    candidates: found
      .slice(0, 10)
      .map(({ id }) => id)
      .join(" "),
  });
}

/** Keeps the checkpoint (invariant 9) for an owner, such as an operation. Throws `NoCheckpoint` when it isn't listed. */
export async function pinCheckpoint(site: Site, vpgId: Id, id: string, owner: string): Promise<void> {
  await resolveCheckpoint(site, vpgId, { kind: "id", id });
  await restorePin(site, vpgId, id, owner);
}

/** A pin that stood before the table was lost: it is for a checkpoint that was listed then. Throws `NoCheckpoint` without its row. */
export async function restorePin(site: Pick<Site, "table">, vpgId: Id, id: string, owner: string): Promise<void> {
  await changeRow(site, vpgId, parsePosition(id), (row) => pinned(row, owner));
}

/** The pin as an action of a larger transaction: none when it stands already. Throws `NoCheckpoint` without its row. */
export async function pinAction(site: Site, vpgId: Id, id: string, owner: string): Promise<readonly TableAction[]> {
  const action = await rowAction(site, vpgId, parsePosition(id), (row) => pinned(row, owner));
  return action === undefined ? [] : [action];
}

/** With `leasedUntil` a lease that ends then takes the pin's place; nothing when the pin doesn't stand. */
export async function unpinCheckpoint(
  site: Site,
  vpgId: Id,
  id: string,
  owner: string,
  leasedUntil?: number,
): Promise<void> {
  await changeRow(site, vpgId, parsePosition(id), (row) => unpinned(row, owner, leasedUntil));
}

/** The same as an action of a larger transaction: none when the pin doesn't stand, or the checkpoint is gone. */
export async function unpinAction(
  site: Site,
  vpgId: Id,
  id: string,
  owner: string,
  leasedUntil?: number,
): Promise<readonly TableAction[]> {
  const action = await rowAction(site, vpgId, parsePosition(id), (row) => unpinned(row, owner, leasedUntil)).catch(
    (error: unknown) => {
      if (error instanceof NoCheckpoint) return undefined;
      throw error;
    },
  );
  return action === undefined ? [] : [action];
}

/**
 * The owner's lease of a checkpoint as an action of a larger transaction: it ends then, instead of when it did before; null ends it
 * now. Throws `NoCheckpoint` without the row, or when thinning has marked it.
 */
export async function leaseAction(
  site: Site,
  vpgId: Id,
  id: string,
  owner: string,
  until: number | null,
): Promise<readonly TableAction[]> {
  const action = await rowAction(site, vpgId, parsePosition(id), (row) => {
    const others = withoutLeases(livePins(row.pins, site.clock.now()), owner);
    if (until === null) return { ...row, pins: [...others] };
    assertStays(row);
    return { ...row, pins: [...others, leaseOf(owner, until)] };
  });
  return action === undefined ? [] : [action];
}

function unpinned(row: CheckpointState, owner: string, leasedUntil?: number): CheckpointState | undefined {
  if (!row.pins.includes(owner)) return undefined;
  const pins = row.pins.filter((other) => other !== owner);
  if (leasedUntil === undefined) return { ...row, pins };
  return { ...row, pins: [...withoutLeases(pins, owner), leaseOf(owner, leasedUntil)] };
}

function pinned(row: CheckpointState, owner: string): CheckpointState | undefined {
  assertStays(row);
  return row.pins.includes(owner) ? undefined : { ...row, pins: [...row.pins, owner] };
}

function assertStays({ leaving }: CheckpointState): void {
  if (leaving === true) throw new NoCheckpoint("the checkpoint is being let go by retention: choose another");
}

/**
 * Thinning's half of the condition on a checkpoint's own item: marks it, unless somebody needs it or it is not as thinning judged it
 * any more, by a tag or a later end. False when it stays; true also for one that was marked before, or whose item is gone because it
 * was let go long ago.
 */
export async function markLeaving(
  site: Site,
  vpgId: Id,
  seen: Pick<ListedCheckpoint, "position" | "validThrough" | "tags">,
): Promise<boolean> {
  let goes = true;
  await changeRow(site, vpgId, seen.position, (row) => {
    const asSeen = row.validThrough === seen.validThrough && row.notes.every(({ tag }) => seen.tags.includes(tag));
    goes = livePins(row.pins, site.clock.now()).length === 0 && (row.leaving === true || asSeen);
    return row.leaving === true || !goes ? undefined : { ...row, pins: [], leaving: true };
  });
  return goes;
}

/** Adds an operation's note, which is listed as a tag: first in the bucket, then in the table. A repeat changes nothing. */
export async function annotate(site: Site, vpgId: Id, id: string, operationId: Id, tag: string): Promise<void> {
  const position = parsePosition(id);
  const createdAt = site.clock.now();
  const annotation: Annotation = { formatVersion: 1, vpgId, checkpointId: id, operationId, tag, createdAt };
  const key = annotationKey(vpgId, position, operationId);
  await site.objects.put(key, jsonBytes(annotation), { ifAbsent: true });
  await changeRow(site, vpgId, position, (row) =>
    row.notes.some((note) => note.operationId === operationId)
      ? undefined
      : { ...row, notes: [...row.notes, { operationId, tag }] },
  );
}

/** The checkpoint's tags, or undefined when the table has no such checkpoint (any more). */
export async function findTags(site: Site, vpgId: Id, id: string): Promise<readonly string[] | undefined> {
  const { session, sequence } = parsePosition(id);
  const item = await site.table.get(items.batch(vpgId, session, sequence));
  const row = item && rowOfItem(item);
  return row && tagsOf(row);
}

/** Known to equal the source until then; never moves back. */
export async function extendCheckpoint(site: Site, vpgId: Id, position: Position, validThrough: number): Promise<void> {
  await changeRow(site, vpgId, position, (row) =>
    row.validThrough >= validThrough ? undefined : { ...row, validThrough },
  );
}

/** A conditional write on the checkpoint's own item, tried again when somebody came between; thinning uses the same item. */
async function changeRow(
  site: Pick<Site, "table">,
  vpgId: Id,
  position: Position,
  change: (state: CheckpointState) => CheckpointState | undefined,
): Promise<void> {
  await tryAgain(`checkpoint ${formatPosition(position)}`, async () => {
    const action = await rowAction(site, vpgId, position, change);
    if (action !== undefined) await site.table.transact([action]);
  });
}

/** The change as an action that fails when somebody came between; undefined when there is nothing to change. */
async function rowAction(
  site: Pick<Site, "table">,
  vpgId: Id,
  position: Position,
  change: (state: CheckpointState) => CheckpointState | undefined,
): Promise<TableAction | undefined> {
  const key = items.batch(vpgId, position.session, position.sequence);
  const item = await site.table.get(key);
  const row = item && rowOfItem(item);
  if (item === undefined || row === undefined) throw new NoCheckpoint(`checkpoint ${key.sk} is not listed (any more)`);
  const { validThrough, notes, pins, leaving } = row;
  const checkpoint = change({ validThrough, notes, pins, ...(leaving === true ? { leaving } : {}) });
  if (checkpoint === undefined) return undefined;
  return { put: key, fields: { ...item.fields, checkpoint: tableFields(checkpoint) }, if: { rev: item.rev } };
}

/** Up to where the image of some volumes goes in a checkpoint. */
export interface CheckpointPart {
  readonly position: Position;
  readonly volumes: readonly number[];
}

/**
 * What the checkpoint of that id stands for: with one source gateway one position for all volumes, with several one of each
 * gateway's session. Throws `NoCheckpoint` when a checkpoint of several gateways is not known.
 */
export async function checkpointParts(site: Site, vpg: VpgRecord, id: string): Promise<readonly CheckpointPart[]> {
  const position = parsePosition(id);
  if (sourceGatewaysOf(vpg.definition).length === 1) {
    const { vms } = await definitionOfCheckpoint(site, vpg.definition, id);
    return [{ position, volumes: volumesOf({ vms }).map(({ volume }) => volume) }];
  }
  const item = await site.table.get(items.batch(vpg.vpgId, position.session, position.sequence));
  const vector = item && rowOfItem(item)?.vector;
  if (vector === undefined) throw new NoCheckpoint(`checkpoint ${id} is not listed (any more)`);
  return partsOf(site, vpg.vpgId, vector);
}

/** Each component with the volumes of its session. */
export function partsOf(site: Site, vpgId: Id, vector: readonly Position[]): Promise<readonly CheckpointPart[]> {
  return Promise.all(
    vector.map(async (position) => {
      const { claim } = await getSession(site, vpgId, position.session);
      return { position, volumes: claim.volumes.map(({ volume }) => volume) };
    }),
  );
}

/** For whoever lists without a page: the newest valid one, or undefined. */
export async function newestCheckpoint(site: Site, vpgId: Id): Promise<ListedCheckpoint | undefined> {
  const scan = await CheckpointScan.open(site, vpgId);
  const { newest } = scan.summary();
  return newest === null ? undefined : scan.at(newest.position);
}
