import { z } from "zod";
import { type Id, idSchema } from "#core/ids.ts";
import { checkStored, tableFields } from "#core/json.ts";
import type { TableAction, TableCondition } from "#core/ports.ts";
import { items } from "#core/protection/items.ts";
import { liveOptionsSchema } from "#core/protection/operation.ts";
import type { Site } from "#core/site.ts";
import { triggerLimits as limits } from "./limits.ts";

const entrySchema = z.strictObject({
  vpgId: idSchema,
  name: z.string(),
  priority: z.int(),
  /** Of the same site failover alone: a VPG that isn't failed over needs nobody to wait for it. */
  dependsOn: z.array(z.string()),
  /** Chosen before anything starts, so that no repetition can start a second one. */
  operationId: idSchema,
  /** Why it could not be started. */
  refused: z.strictObject({ name: z.string(), message: z.string() }).nullable(),
});
export type SiteFailoverEntry = z.infer<typeof entrySchema>;

/** The failover of all VPGs of one protected site: its plan, made once, and what was refused. The rest is the operations'. */
export const siteFailoverSchema = z.strictObject({
  siteFailoverId: idSchema,
  protectedSite: z.string(),
  options: liveOptionsSchema,
  concurrency: z.int().min(1).max(limits.concurrencyMax),
  startedBy: z.strictObject({ name: z.string(), role: z.literal("operator") }),
  createdAt: z.int(),
  endedAt: z.int().nullable(),
  entries: z.array(entrySchema).max(limits.siteVpgsMax),
});
export type SiteFailover = z.infer<typeof siteFailoverSchema>;

export interface StoredSiteFailover {
  readonly record: SiteFailover;
  readonly rev: number;
}

export async function findSiteFailover(site: Site, siteFailoverId: Id): Promise<StoredSiteFailover | undefined> {
  const item = await site.table.get(items.siteFailover(siteFailoverId));
  if (item === undefined) return undefined;
  return { record: checkStored(siteFailoverSchema, item.fields, `site failover ${siteFailoverId}`), rev: item.rev };
}

/** The one under way for a protected site. */
export async function openSiteFailover(site: Site, protectedSite: string): Promise<StoredSiteFailover | undefined> {
  const item = await site.table.get(items.openSiteFailover(protectedSite));
  return item && findSiteFailover(site, idSchema.parse(item.fields["siteFailoverId"]));
}

export async function openSiteFailovers(site: Site): Promise<readonly Id[]> {
  const { items: rows } = await site.table.query(items.openSiteFailover("").pk);
  return rows.map(({ fields }) => idSchema.parse(fields["siteFailoverId"]));
}

/** Creates the record as the one under way; fails when the site has one. */
export const creation = (record: SiteFailover): readonly TableAction[] => [
  put(record, { absent: true }),
  {
    put: items.openSiteFailover(record.protectedSite),
    fields: { siteFailoverId: record.siteFailoverId },
    if: { absent: true },
  },
];

/** Writes the record; one that has ended makes room for the next. */
export const change = (record: SiteFailover, rev: number): readonly TableAction[] => [
  put(record, { rev }),
  ...(record.endedAt === null ? [] : [{ delete: items.openSiteFailover(record.protectedSite) }]),
];

const put = (record: SiteFailover, condition: TableCondition): TableAction => ({
  put: items.siteFailover(record.siteFailoverId),
  fields: tableFields(record),
  if: condition,
});
