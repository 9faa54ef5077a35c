import { z } from "zod";
import { chunkOf } from "#core/blocks/geometry.ts";
import { type DiskFinding, diskFindingSchema } from "#core/scrub/disk-standing.ts";
import { scrubFindingsMax, scrubRoundMs } from "../limits.ts";

const count = z.int().min(0);
const roundSchema = z.strictObject({
  /** By this machine's clock. */
  startedAt: count,
  /** The next chunk: of the first volume, by the journal's numbers, that is not below. */
  volume: count,
  chunk: count,
  compared: count,
  skipped: count,
});
export type DiskRound = z.infer<typeof roundSchema>;

/** What a gateway remembers of a VPG's scrub: `scrub-<vpg>` in its state directory. */
export const scrubRecordSchema = z.strictObject({
  formatVersion: z.literal(1),
  /** Which disks, and whose journal: what was found of others says nothing. */
  of: z.string(),
  round: roundSchema.nullable(),
  /** The newest that came to its end. */
  last: roundSchema.pick({ startedAt: true, compared: true, skipped: true }).nullable(),
  findings: z.array(diskFindingSchema).max(scrubFindingsMax),
});
export type DiskRecord = z.infer<typeof scrubRecordSchema>;

export const noRecord = (of: string): DiskRecord => ({ formatVersion: 1, of, round: null, last: null, findings: [] });

export const begun = (record: DiskRecord, now: number): DiskRecord => ({
  ...record,
  round: { startedAt: now, volume: 0, chunk: 0, compared: 0, skipped: 0 },
});

/** With the round at its end: everything that could be was compared since it began. */
export function ended(record: DiskRecord): DiskRecord {
  const { round } = record;
  if (round === null) return record;
  const { startedAt, compared, skipped } = round;
  return { ...record, round: null, last: { startedAt, compared, skipped } };
}

/** How long until the next round; a clock that was set back delays none. */
export function dueInMs({ last }: DiskRecord, now: number): number {
  if (last === null || now < last.startedAt) return 0;
  return Math.max(0, last.startedAt + scrubRoundMs - now);
}

type Place = Pick<DiskFinding, "volume" | "offset">;
const samePlace = (one: Place, other: Place): boolean =>
  one.volume === other.volume && chunkOf(one.offset) === chunkOf(other.offset);

/** The chunk differs. When there are too many the newest are kept: the oldest were sent again long ago. */
export function found(
  record: DiskRecord,
  finding: Omit<DiskFinding, "foundAt" | "times" | "mended">,
  now: number,
): DiskRecord {
  const known = record.findings.find((each) => samePlace(each, finding));
  const times = known?.mended === false ? known.times + 1 : 1;
  const others = record.findings.filter((each) => each !== known);
  const findings = [...others, { ...finding, foundAt: now, times, mended: false }];
  return { ...record, findings: findings.slice(-scrubFindingsMax) };
}

/** The chunk is equal: it is mended, and once a later round says so it is no finding any more. */
export function equal(record: DiskRecord, place: Place): DiskRecord {
  const known = record.findings.find((each) => samePlace(each, place));
  if (known === undefined) return record;
  const later = record.round !== null && record.round.startedAt > known.foundAt;
  const findings = record.findings.flatMap((each) => {
    if (each !== known) return each;
    return later ? [] : { ...each, mended: true };
  });
  return { ...record, findings };
}
