import { z } from "zod";
import { ConditionFailed } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { checkStored, tableFields } from "#core/json.ts";
import { items } from "#core/protection/items.ts";
import type { Site } from "#core/site.ts";

/** What the runs of retention told of a VPG, for people: nothing is decided by it. */
const standingSchema = z.object({
  ranAt: z.int().nullable().default(null),
  /** Why it doesn't run now; null when it does. */
  waits: z.string().nullable().default(null),
  unlisted: z.int().default(0),
  pressure: z.int().default(0),
  collectedAt: z.int().nullable().default(null),
  /** Bytes that a listed checkpoint, a layer or what came since needs. */
  liveBytes: z.int().default(0),
  /** Bytes of what was replaced and stays a while. */
  deadBytes: z.int().default(0),
  /** Bytes that nothing names and nothing replaced: what killed runs left; they were deleted, or will be when they are old enough. */
  leakedBytes: z.int().default(0),
  deletedBytes: z.int().default(0),
});
export type RetentionStanding = z.infer<typeof standingSchema>;

export async function retentionStanding(site: Pick<Site, "table">, vpgId: Id): Promise<RetentionStanding> {
  const item = await site.table.get(items.retention(vpgId));
  return checkStored(standingSchema, item?.fields ?? {}, `the retention of VPG ${vpgId}`);
}

/** Of two that write at once either may stay. */
export async function noteStanding(site: Site, vpgId: Id, change: Partial<RetentionStanding>): Promise<void> {
  const key = items.retention(vpgId);
  const item = await site.table.get(key);
  const before = checkStored(standingSchema, item?.fields ?? {}, `the retention of VPG ${vpgId}`);
  const fields = tableFields({ ...before, ...change });
  try {
    await site.table.transact([{ put: key, fields, if: item === undefined ? { absent: true } : { rev: item.rev } }]);
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
  }
}
