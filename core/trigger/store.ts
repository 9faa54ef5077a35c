import { NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { idSchema } from "#core/ids.ts";
import { checkStored, tableFields } from "#core/json.ts";
import type { TableAction, TableCondition } from "#core/ports.ts";
import { items } from "#core/protection/items.ts";
import type { Site } from "#core/site.ts";
import { type Incident, incidentSchema } from "./incident.ts";
import { triggerLimits as limits } from "./limits.ts";
import { unwatched, type Watch, watchSchema } from "./watch.ts";

/** What was read, with the condition under which it may be written again. */
export interface Stored<T> {
  readonly value: T;
  readonly unchanged: TableCondition;
}

export async function readWatch(site: Pick<Site, "table">, vpgId: Id): Promise<Stored<Watch>> {
  const item = await site.table.get(items.watch(vpgId));
  if (item === undefined) return { value: unwatched, unchanged: { absent: true } };
  return { value: checkStored(watchSchema, item.fields, `the watch of ${vpgId}`), unchanged: { rev: item.rev } };
}

export const putWatch = (vpgId: Id, watch: Watch, condition: TableCondition): TableAction => ({
  put: items.watch(vpgId),
  fields: tableFields(watch),
  if: condition,
});

export async function findIncident(site: Pick<Site, "table">, incidentId: Id): Promise<Stored<Incident> | undefined> {
  const item = await site.table.get(items.incident(incidentId));
  if (item === undefined) return undefined;
  return { value: checkStored(incidentSchema, item.fields, `incident ${incidentId}`), unchanged: { rev: item.rev } };
}

/** Throws `NotFound`. */
export async function getIncident(site: Pick<Site, "table">, incidentId: Id): Promise<Stored<Incident>> {
  const found = await findIncident(site, incidentId);
  if (found !== undefined) return found;
  throw new NotFound(`no incident ${incidentId} at this site; farshore incident list shows them`, { incidentId });
}

/** Writes the incident, and what it newly says to people into the outbox; `before` is what was read, undefined for a new one. */
export function putIncident(incident: Incident, before: Stored<Incident> | undefined): readonly TableAction[] {
  const { incidentId, vpgName, notices } = incident;
  const known = new Set(before?.value.notices.map(({ kind }) => kind));
  // Numbered, so that they are told in the order in which they came up.
  const told = notices
    .map((notice, number) => ({ ...notice, noticeId: `${incidentId}-${number}-${notice.kind}` }))
    .filter(({ kind }) => !known.has(kind));
  return [
    { put: items.incident(incidentId), fields: tableFields(incident), if: before?.unchanged ?? { absent: true } },
    ...told.map(({ noticeId, kind, text }) => ({
      put: items.notice(noticeId),
      fields: { incidentId, vpgName, kind, text },
    })),
  ];
}

/** The newest incidents, newest first. */
export async function listIncidents(site: Pick<Site, "table">, vpgId?: Id): Promise<readonly Incident[]> {
  const { items: rows } = await site.table.query(items.incident(anyId).pk, {
    reverse: true,
    limit: limits.incidentsListed,
  });
  const incidents = rows.map(({ sk, fields }) => checkStored(incidentSchema, fields, `incident ${sk}`));
  return vpgId === undefined ? incidents : incidents.filter((incident) => incident.vpgId === vpgId);
}

/** Every watch with an open incident, whatever became of its VPG. */
export async function openIncidentIds(site: Pick<Site, "table">): Promise<ReadonlyMap<Id, Id>> {
  const open = new Map<Id, Id>();
  let cursor: string | undefined;
  do {
    const page = await site.table.query(items.watch(anyId).pk, cursor === undefined ? {} : { cursor });
    for (const { sk, fields } of page.items) {
      const { incidentId } = checkStored(watchSchema, fields, `the watch of ${sk}`);
      if (incidentId !== null) open.set(idSchema.parse(sk), incidentId);
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  return open;
}

/** The partition's key alone is wanted. */
const anyId = idSchema.parse("00000000000000000000000000");
