import { z } from "zod";
import { Corrupt, FarshoreError } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { damageOf } from "#core/journal/damage.ts";
import { checkStored, tableFields } from "#core/json.ts";
import { items } from "#core/protection/items.ts";
import type { Site } from "#core/site.ts";
import { scrubLimits as limits } from "./limits.ts";

const count = z.int().min(0);

/** Where the next run goes on. `stand` null: at the session's object itself. */
const cursorSchema = z.discriminatedUnion("area", [
  z.object({
    area: z.literal("sessions"),
    session: count,
    stand: z
      .object({
        batch: count,
        sequence: z.int().min(-1),
        hash: z.string().nullable(),
        closed: z.boolean(),
        /** Of volumes that were resized in the session. */
        sizes: z.array(z.tuple([count, count])),
      })
      .nullable(),
  }),
  /** Behind that part; "" before the first layer. */
  z.object({ area: z.literal("layers"), layerId: z.string(), part: z.int().min(-1) }),
  /** Behind that manifest; the digest follows the last. */
  z.object({ area: z.literal("manifests"), manifest: count }),
]);
export type Cursor = z.infer<typeof cursorSchema>;

const findingSchema = z.object({
  key: z.string(),
  /** Name of the error, as in core/errors.ts. */
  error: z.string(),
  message: z.string().max(limits.findingCharactersMax),
  /** When it was found first, and when it was read last. */
  foundAt: count,
  readAt: count,
});
export type Finding = z.infer<typeof findingSchema>;

const roundSchema = z.object({
  startedAt: count,
  /** By a person: it is read as fast as can be. */
  asked: z.boolean(),
  cursor: cursorSchema,
  objects: count,
  bytes: count,
});
export type Round = z.infer<typeof roundSchema>;

const recordSchema = z.object({
  /** By the site's clock: up to when the time is used up that what was read takes at the rate. */
  paidUntil: count.default(0),
  ranAt: count.nullable().default(null),
  recheckedAt: count.default(0),
  /** Of the journal, layers included, at the last run. */
  totalBytes: count.default(0),
  round: roundSchema.nullable().default(null),
  /** The newest round that came to its end: everything that stood there at its beginning was read since. */
  last: z.object({ startedAt: count, endedAt: count, objects: count, bytes: count }).nullable().default(null),
  /** Objects whose newest reading was not good, the first found first. */
  findings: z.array(findingSchema).max(limits.findingsMax).default([]),
  /** The object that the store last did not give, and in how many runs by now. */
  held: z.object({ key: z.string(), runs: count }).nullable().default(null),
  /** Found in this round or the last and not told, since there were too many. */
  more: count.default(0),
});
export type ScrubRecord = z.infer<typeof recordSchema>;

/** A VPG's record as it was read; every change of it is conditional on `rev`. */
export interface KeptRecord {
  readonly record: ScrubRecord;
  readonly rev: number;
}

export async function readScrub(site: Pick<Site, "table">, vpgId: Id): Promise<KeptRecord> {
  const item = await site.table.get(items.scrub(vpgId));
  const record = checkStored(recordSchema, item?.fields ?? {}, `the scrub of VPG ${vpgId}`);
  return { record, rev: item?.rev ?? 0 };
}

/** Throws `ConditionFailed` when somebody else changed it since it was read: what the caller found out counts for nothing then. */
export async function writeScrub(
  site: Pick<Site, "table">,
  vpgId: Id,
  { rev }: KeptRecord,
  record: ScrubRecord,
): Promise<KeptRecord> {
  const put = { put: items.scrub(vpgId), fields: tableFields(record) };
  await site.table.transact([{ ...put, if: rev === 0 ? { absent: true } : { rev } }]);
  return { record, rev: rev + 1 };
}

export const newRound = (startedAt: number, asked: boolean): Round => ({
  startedAt,
  asked,
  cursor: { area: "sessions", session: 0, stand: null },
  objects: 0,
  bytes: 0,
});

/**
 * What is wrong with an object by what its reading threw; undefined when that says nothing of it. A store that merely doesn't give it,
 * while it answers otherwise, says so only after `unreadableRuns`, which are counted here; what was found already isn't waited for again.
 */
export function damageIn(
  record: ScrubRecord,
  key: string,
  error: unknown,
): { readonly record: ScrubRecord; readonly damage: FarshoreError | undefined } {
  const damage = damageOf(error);
  if (damage !== undefined || !(error instanceof FarshoreError)) return { record, damage };
  const runs = record.held?.key === key ? record.held.runs + 1 : 1;
  const counted = { ...record, held: { key, runs } };
  const over = runs >= limits.unreadableRuns || record.findings.some((finding) => finding.key === key);
  if (!over) return { record: counted, damage: undefined };
  return { record: counted, damage: new Corrupt(`it could not be read: ${error.message}`, { key }, { cause: error }) };
}

/** What is known of an object by a reading of it: what was wrong, or that it is good. */
export function noted(before: ScrubRecord, key: string, error: Error | undefined, now: number): ScrubRecord {
  const record = before.held?.key === key ? { ...before, held: null } : before;
  const known = record.findings.find((finding) => finding.key === key);
  if (error === undefined) {
    if (known === undefined) return record;
    return { ...record, findings: record.findings.filter((finding) => finding !== known) };
  }
  const message = error.message.slice(0, limits.findingCharactersMax);
  const finding = { key, error: error.name, message, foundAt: known?.foundAt ?? now, readAt: now };
  if (known !== undefined) {
    return { ...record, findings: record.findings.map((each) => (each === known ? finding : each)) };
  }
  if (record.findings.length === limits.findingsMax) return { ...record, more: record.more + 1 };
  return { ...record, findings: [...record.findings, finding] };
}
