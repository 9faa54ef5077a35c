import { z } from "zod";
import { NotFound } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { allReportsPrefix, parseReportKey, reportKey, reportPrefix } from "#core/journal/keys.ts";
import { jsonBytes, parseStored } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { ObjectInfo } from "#core/ports.ts";
import { type VpgDefinition, volumesOf } from "#core/protection/definition.ts";
import {
  type Decision,
  decisionSchema,
  liveOptionsSchema,
  lostTailSchema,
  moveOptionsSchema,
  type Operation,
  operationIncidentSchema,
  operationKinds,
  phases,
  retargetSchema,
  reverseFiguresSchema,
  reverseOptionsSchema,
  stepSchema,
  syncFiguresSchema,
  syncOptionsSchema,
  testOptionsSchema,
  verdictSchema,
} from "#core/protection/operation.ts";
import type { VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { version } from "#core/version.ts";
import { lostTailText } from "./lost-tail-text.ts";
import { reportHtml } from "./report-html.ts";

/** What an auditor reads of one attempt of an operation; the fields follow the field's own recovery reports. Never changed once stored. */
export const reportSchema = z.strictObject({
  formatVersion: z.literal(1),
  operationId: idSchema,
  attempt: z.int().min(1),
  kind: z.enum(operationKinds),
  phase: z.enum(phases),
  vpgId: idSchema,
  vpgName: z.string(),
  protectedSite: z.string(),
  recoverySite: z.string(),
  initiatedBy: z.string(),
  incident: operationIncidentSchema.nullable().default(null),
  /** What was asked of a live failover, or of a test. Like `vms` and `version`, absent in reports of before they were kept. */
  live: liveOptionsSchema.nullable().default(null),
  test: testOptionsSchema.nullable().default(null),
  move: moveOptionsSchema.nullable().default(null),
  sync: syncOptionsSchema.nullable().default(null),
  reverse: reverseOptionsSchema.nullable().default(null),
  startedAt: z.int(),
  endedAt: z.int(),
  checkpointId: z.string().nullable(),
  /** Source time of the recovered instant. */
  checkpointTime: z.int().nullable(),
  /** The tags it had at the end, those of tests included; null when it is unknown or was no longer listed. */
  checkpointTags: z.array(z.string()).nullable().default(null),
  retargets: z.array(retargetSchema).default([]),
  rtoMs: z.int().nullable(),
  term: z.int(),
  decision: decisionSchema.nullable(),
  lostTail: lostTailSchema.nullable(),
  /** The same as one sentence; empty when there was nothing to lose. */
  lostTailText: z.string(),
  syncFigures: syncFiguresSchema.nullable().default(null),
  reverseFigures: reverseFiguresSchema.nullable().default(null),
  verdicts: z.array(verdictSchema).default([]),
  error: z.strictObject({ name: z.string(), message: z.string() }).nullable(),
  /** In the order they began. */
  steps: z.array(stepSchema.extend({ step: z.string(), durationMs: z.int().nullable() })),
  /** Where each recovered volume was served. */
  exports: z.array(z.strictObject({ vm: z.string(), volume: z.string(), number: z.int(), uri: z.string() })),
  /** What was recovered: the VPG as its checkpoint has it, with the settings of the end. */
  vms: z
    .array(
      z.strictObject({
        name: z.string(),
        bootGroup: z.int(),
        volumes: z.array(z.strictObject({ name: z.string(), number: z.int(), sizeBytes: z.int() })),
      }),
    )
    .nullable()
    .default(null),
  /** Its undo found the source silent: what it had shut down there is powered on when that is heard again. */
  sourceLeftOff: z.boolean().default(false),
  /** Of the program that ended the attempt. */
  version: z.string().nullable().default(null),
});
export type Report = z.infer<typeof reportSchema>;

export interface Outcome {
  readonly phase: Operation["phase"];
  readonly error: Operation["error"];
}

/** What a report says beside the records of the operation and its VPG. */
export interface ReportFacts {
  readonly decision: Decision | undefined;
  /** The VPG as the checkpoint has it. */
  readonly recovered: VpgDefinition;
  readonly checkpointTags: readonly string[] | undefined;
}

export function reportOf(
  site: Site,
  vpg: VpgRecord,
  operation: Operation,
  outcome: Outcome,
  { decision, recovered, checkpointTags }: ReportFacts,
): Report {
  const steps = Object.entries(operation.steps)
    .map(([step, record]) => ({
      step,
      ...record,
      durationMs: record.endedAt === null ? null : record.endedAt - record.startedAt,
    }))
    .sort((left, right) => left.startedAt - right.startedAt);
  const exports = volumesOf(recovered).flatMap(({ vmName, name, volume }) => {
    const uri = operation.exports[String(volume)];
    return uri === undefined ? [] : [{ vm: vmName, volume: name, number: volume, uri }];
  });
  return {
    formatVersion: 1,
    operationId: operation.operationId,
    attempt: operation.attempt,
    kind: operation.kind,
    phase: outcome.phase,
    vpgId: operation.vpgId,
    vpgName: operation.vpgName,
    protectedSite: vpg.definition.protectedSite,
    recoverySite: site.siteName,
    initiatedBy: operation.initiatedBy,
    incident: operation.incident,
    live: operation.live,
    test: operation.test,
    move: operation.move,
    sync: operation.sync,
    reverse: operation.reverse,
    startedAt: operation.createdAt,
    endedAt: site.clock.now(),
    checkpointId: operation.checkpointId,
    checkpointTime: operation.checkpointTime,
    checkpointTags: checkpointTags === undefined ? null : [...checkpointTags],
    retargets: operation.retargets,
    rtoMs: operation.rtoMs,
    term: vpg.term,
    sourceLeftOff: operation.sourceLeftOff,
    decision: decision ?? null,
    lostTail: operation.lostTail,
    lostTailText: operation.lostTail === null ? "" : lostTailText(operation.lostTail),
    syncFigures: operation.syncFigures,
    reverseFigures: operation.reverseFigures,
    verdicts: operation.verdicts,
    error: outcome.error,
    steps,
    exports,
    vms: recovered.vms.map(({ name, bootGroup, volumes }) => ({
      name,
      bootGroup,
      volumes: volumes.map((volume) => ({ name: volume.name, number: volume.volume, sizeBytes: volume.sizeBytes })),
    })),
    version,
  };
}

/**
 * Stores the attempt's report, or answers with the one that stands: whoever ends an attempt again ends it the same way. The
 * page is made of the report that stands, after it, so who was killed in between makes the same page again.
 */
export async function storeReport(site: Site, report: Report): Promise<Report> {
  const standing = await storeJson(site, report);
  const { vpgId, operationId, attempt } = standing;
  const page = new TextEncoder().encode(reportHtml(standing));
  await site.objects.put(reportKey(vpgId, operationId, attempt, "html"), page, { ifAbsent: true });
  return standing;
}

async function storeJson(site: Site, report: Report): Promise<Report> {
  const key = reportKey(report.vpgId, report.operationId, report.attempt, "json");
  if ((await site.objects.put(key, jsonBytes(report), { ifAbsent: true })) === "created") return report;
  return parseStored(reportSchema, await site.objects.get(key), key);
}

/** What reading a report needs of a site: also its bucket alone. */
type Bucket = Pick<Site, "objects">;

/** The report of the operation's last attempt that ended. Throws `NotFound` while there is none. */
export async function readReport(site: Bucket, vpgId: Id, operationId: Id): Promise<Report> {
  return reportIn(site, operationId, await storedOf(site, vpgId, operationId));
}

/** The same as a page (core/recovery/report-html.ts): the stored one, or one made now of a report that has none beside it. */
export async function readReportHtml(site: Bucket, vpgId: Id, operationId: Id): Promise<string> {
  const stored = await storedOf(site, vpgId, operationId);
  const report = await reportIn(site, operationId, stored);
  const key = reportKey(vpgId, operationId, report.attempt, "html");
  if (!stored.some((object) => object.key === key)) return reportHtml(report);
  return new TextDecoder().decode(await site.objects.get(key));
}

/** Whose report it is, found by the operation's id in a bucket alone. Throws `NotFound`. */
export async function vpgOfReport(bucket: Bucket, operationId: Id): Promise<Id> {
  for await (const { key } of listAll(bucket.objects, allReportsPrefix)) {
    const place = parseReportKey(key);
    if (place?.operationId === operationId) return idSchema.parse(place.vpgId);
  }
  throw new NotFound(`this bucket holds no report of operation ${operationId}`, { operationId });
}

const storedOf = (site: Bucket, vpgId: Id, operationId: Id): Promise<readonly ObjectInfo[]> =>
  site.objects.list(reportPrefix(vpgId, operationId));

async function reportIn(site: Bucket, operationId: Id, stored: readonly ObjectInfo[]): Promise<Report> {
  const last = stored.findLast(({ key }) => key.endsWith(".json"));
  if (last !== undefined) return parseStored(reportSchema, await site.objects.get(last.key), last.key);
  throw new NotFound(
    `operation ${operationId} has no report yet; it is written at the end (farshore operation watch ${operationId})`,
    { operationId },
  );
}
