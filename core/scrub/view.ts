import { z } from "zod";
import type { Id } from "#core/ids.ts";
import type { Site } from "#core/site.ts";
import { journalRate, type ScrubPolicy } from "./policy.ts";
import { type Finding, readScrub } from "./record.ts";

/** How far a journal was read back, as people see it. */
export const journalScrubSchema = z.object({
  /** Of the round under way, or 100 behind one that has ended; 0 before the first. */
  coveragePercent: z.number(),
  /** Everything that the journal held so long ago was read since; null before a first round has ended. */
  ageMs: z.int().nullable(),
  /** Of the round under way; null between two rounds. */
  startedAt: z.int().nullable(),
  bytes: z.int(),
  totalBytes: z.int(),
  /** Now; 0 when it is switched off. */
  bytesPerSecond: z.int(),
  /** Objects whose newest reading was not good, as far as they are told one by one. */
  findings: z.int(),
  /** One of them: its key and what is wrong. */
  first: z.string().nullable(),
});
export type JournalScrub = z.infer<typeof journalScrubSchema>;

export const journalFindingSchema = z.object({
  key: z.string(),
  error: z.string(),
  message: z.string(),
  foundAt: z.int(),
  readAt: z.int(),
});

/** `GET /v1/vpgs/REF/scrub`. */
export const scrubReportSchema = z.object({
  journal: journalScrubSchema.extend({ list: z.array(journalFindingSchema), more: z.int() }),
});
export type ScrubReport = z.infer<typeof scrubReportSchema>;

/** The standing of a VPG's scrub with all that it found. */
export async function scrubReport(site: Site, vpgId: Id, policy: ScrubPolicy | undefined): Promise<ScrubReport> {
  const { round, last, totalBytes, findings, more } = (await readScrub(site, vpgId)).record;
  const bytes = round?.bytes ?? last?.bytes ?? 0;
  const part = round === null ? Number(last !== null) : Math.min(0.999, bytes / Math.max(1, totalBytes, bytes));
  return {
    journal: {
      coveragePercent: Math.floor(part * 1000) / 10,
      ageMs: last === null ? null : Math.max(0, site.clock.now() - last.startedAt),
      startedAt: round?.startedAt ?? null,
      ...{ bytes, totalBytes },
      bytesPerSecond: journalRate(policy, totalBytes, round?.asked === true),
      findings: findings.length + more,
      first: findings[0] === undefined ? null : textOf(findings[0]),
      list: findings,
      more,
    },
  };
}

const textOf = ({ key, error, message }: Finding): string =>
  message.includes(key) ? `${error}: ${message}` : `${key}: ${error}: ${message}`;

/** The same in short. */
export async function scrubView(
  site: Site,
  vpgId: Id,
  policy: ScrubPolicy | undefined,
): Promise<{ readonly journal: JournalScrub }> {
  const { list: _, more: __, ...journal } = (await scrubReport(site, vpgId, policy)).journal;
  return { journal };
}
