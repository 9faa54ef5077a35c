import { z } from "zod";
import { type SourceGateway, sourceGatewaysOf, volumesOf } from "#core/protection/definition.ts";
import { findGateway, streamOf } from "#core/protection/gateway-store.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import type { Site } from "#core/site.ts";
import { diskFindingSchema, diskScrubSchema } from "./disk-standing.ts";
import { journalRate } from "./policy.ts";
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

/** How far a source gateway compared its disks with the journal, by its last heartbeat. */
export const sourceScrubSchema = diskScrubSchema
  .omit({ findings: true })
  .extend({ gateway: z.string(), coveragePercent: z.number(), first: z.string().nullable() });
export type SourceScrub = z.infer<typeof sourceScrubSchema>;

const findingTextSchema = z.object({
  key: z.string(),
  error: z.string(),
  message: z.string(),
  foundAt: z.int(),
  readAt: z.int(),
});

/** In `VpgView`. */
export const scrubViewSchema = z.object({ journal: journalScrubSchema, disks: z.array(sourceScrubSchema) });
export type ScrubView = z.infer<typeof scrubViewSchema>;

/** `GET /v1/vpgs/REF/scrub`. */
export const scrubReportSchema = z.object({
  journal: journalScrubSchema.extend({ list: z.array(findingTextSchema), more: z.int() }),
  disks: z.array(
    sourceScrubSchema.extend({
      /** The newest. */
      list: z.array(diskFindingSchema.extend({ vmName: z.string(), volumeName: z.string() })),
    }),
  ),
});
export type ScrubReport = z.infer<typeof scrubReportSchema>;

const percent = (part: number): number => Math.floor(part * 1000) / 10;

/** The standing of a VPG's scrub with all that it found. */
export async function scrubReport(site: Site, vpg: VpgRecord): Promise<ScrubReport> {
  const disks = await Promise.all(sourceGatewaysOf(vpg.definition).map((gateway) => disksOf(site, vpg, gateway)));
  return { journal: await journalOf(site, vpg), disks: disks.flatMap((each) => each ?? []) };
}

async function journalOf(site: Site, { vpgId, definition }: VpgRecord): Promise<ScrubReport["journal"]> {
  const { round, last, totalBytes, findings, more } = (await readScrub(site, vpgId)).record;
  const bytes = round?.bytes ?? last?.bytes ?? 0;
  const part = round === null ? Number(last !== null) : Math.min(0.999, bytes / Math.max(1, totalBytes, bytes));
  return {
    coveragePercent: percent(part),
    ageMs: last === null ? null : Math.max(0, site.clock.now() - last.startedAt),
    startedAt: round?.startedAt ?? null,
    ...{ bytes, totalBytes },
    bytesPerSecond: journalRate(definition.scrub, totalBytes, round?.asked === true),
    findings: findings.length + more,
    first: findings[0] === undefined ? null : textOf(findings[0]),
    list: findings,
    more,
  };
}

/** Undefined of a gateway that has not told. */
async function disksOf(
  site: Site,
  { vpgId, definition }: VpgRecord,
  { gatewayId, name: gateway }: SourceGateway,
): Promise<ScrubReport["disks"][number] | undefined> {
  const heard = await findGateway(site, gatewayId);
  const scrub = streamOf(heard, vpgId)?.scrub;
  if (heard === undefined || scrub === undefined) return undefined;
  const { findings, ...standing } = scrub;
  const { comparedChunks, totalChunks, ageMs } = standing;
  const volumes = new Map(volumesOf(definition).map((each) => [each.volume, each]));
  const list = findings.map((finding) => {
    const { vmName = "-", name: volumeName = String(finding.volume) } = volumes.get(finding.volume) ?? {};
    return { ...finding, vmName, volumeName };
  });
  const first = list.find(({ mended }) => !mended) ?? list[0];
  return {
    gateway,
    ...standing,
    ageMs: ageMs === null ? null : ageMs + Math.max(0, site.clock.now() - heard.lastSeenAt),
    coveragePercent: percent(Math.min(1, comparedChunks / Math.max(1, totalChunks))),
    first: first === undefined ? null : `${first.vmName}/${first.volumeName} at byte ${first.offset}`,
    list,
  };
}

const textOf = ({ key, error, message }: Finding): string =>
  message.includes(key) ? `${error}: ${message}` : `${key}: ${error}: ${message}`;

/** The same in short. */
export async function scrubView(site: Site, vpg: VpgRecord): Promise<ScrubView> {
  const report = await scrubReport(site, vpg);
  const { list: _, more: __, ...journal } = report.journal;
  return { journal, disks: report.disks.map(({ list: ___, ...disks }) => disks) };
}
