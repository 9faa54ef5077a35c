import { InvalidInput, NotFound } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { TableAction } from "#core/ports.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { items } from "./items.ts";
import { tryAgain } from "./try-again.ts";
import { fieldsOf, recordOf, type VpgFields, type VpgRecord } from "./vpg-record.ts";

export type { VpgRecord } from "./vpg-record.ts";

/** The VPG of that id, deleted ones included; undefined when there never was one. */
export async function findVpg(site: Site, vpgId: Id): Promise<VpgRecord | undefined> {
  const item = await site.table.get(items.vpg(vpgId));
  return item === undefined ? undefined : recordOf(item);
}

/** The VPG of that name or id. Throws `NotFound`, also for a deleted one. */
export async function getVpg(site: Site, ref: string): Promise<VpgRecord> {
  const record = await findByRef(site, ref);
  if (record === undefined || record.deleted) throw noVpg(ref);
  return record;
}

/** By name or id, also one that is being deleted. */
export async function findByRef(site: Site, ref: string): Promise<VpgRecord | undefined> {
  const id = idSchema.safeParse(ref);
  const byId = id.success ? await findVpg(site, id.data) : undefined;
  return byId ?? (await byName(site, ref));
}

export function noVpg(ref: string): NotFound {
  const vpg = ref.slice(0, 64);
  return new NotFound(`no VPG "${vpg}" at this site; farshore vpg list shows them`, { vpg });
}

async function byName(site: Site, name: string): Promise<VpgRecord | undefined> {
  const item = await site.table.get(items.vpgName(name));
  const id = idSchema.safeParse(item?.fields["vpgId"]);
  return id.success ? findVpg(site, id.data) : undefined;
}

/** All VPGs that are not deleted, by name. */
export async function listVpgs(site: Site): Promise<readonly VpgRecord[]> {
  const records: VpgRecord[] = [];
  let cursor: string | undefined;
  do {
    const page = await site.table.query("vpg-name", cursor === undefined ? {} : { cursor });
    for (const item of page.items) {
      const record = await findVpg(site, idSchema.parse(item.fields["vpgId"]));
      // A name without a record is a creation that was cut off; asking for it again completes it.
      if (record !== undefined && !record.deleted) records.push(record);
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  return records;
}

/**
 * Writes the record with `change` applied, together with `extraActions`, all or nothing.
 * Throws `ConditionFailed` when somebody changed the VPG since it was read (index 0) or an extra action's condition fails.
 */
export async function updateVpg(
  site: Site,
  record: VpgRecord,
  change: Partial<Omit<VpgFields, "formatVersion" | "createdAt">>,
  extraActions: readonly TableAction[] = [],
): Promise<VpgRecord> {
  const next = { ...record, ...change };
  await site.table.transact([
    { put: items.vpg(record.vpgId), fields: fieldsOf(next), if: { rev: record.rev } },
    ...extraActions,
  ]);
  return { ...next, rev: record.rev + 1 };
}

/** Reads, decides and writes again until nobody came between. `decide` throws to refuse, or answers undefined for no change. */
export function changeVpg(
  site: Site,
  vpgId: Id,
  decide: (record: VpgRecord) => Parameters<typeof updateVpg>[2] | undefined,
): Promise<VpgRecord> {
  return tryAgain(`VPG ${vpgId}`, async () => {
    const record = await getVpg(site, vpgId);
    const change = decide(record);
    return change === undefined ? record : updateVpg(site, record, change);
  });
}

/** The gateway goes on serving its guests and only notes what is dirty; checkpoints stay. Idempotent. */
export function pauseVpg(site: Site, caller: Caller, vpgId: Id): Promise<VpgRecord> {
  site.log.info("vpg-pause", { vpgId, initiatedBy: callerText(caller) });
  return changeVpg(site, vpgId, (record) => {
    if (record.role !== "Journal") throw new InvalidInput(`${record.definition.name} is not replicating to this site`);
    return record.paused ? undefined : { paused: true };
  });
}

export function resumeVpg(site: Site, caller: Caller, vpgId: Id): Promise<VpgRecord> {
  site.log.info("vpg-resume", { vpgId, initiatedBy: callerText(caller) });
  return changeVpg(site, vpgId, (record) => (record.paused ? { paused: false } : undefined));
}
