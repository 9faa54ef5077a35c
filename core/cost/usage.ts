import { frameBytesMax, payloadBytesMax } from "#core/journal/limits.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import type { Tier } from "#core/retention/policy.ts";
import { type Meter, meterNames } from "./prices.ts";

/** So much of each meter in a month, or for one act; what is missing is none. */
export type Usage = Readonly<Partial<Record<Meter, number>>>;

/** A month, as AWS's own examples count: 30 days. */
export const monthSeconds = 30 * 86_400;

export const GB = 2 ** 30;

/** An invocation of a Lambda function. */
interface Run {
  /** What the CDK app gives it (infra/constructs/function-settings.ts). */
  readonly memoryMiB: number;
  /** Billed duration. Assumed, not yet measured on AWS: two to six calls of AWS at 5 to 20 ms, and the work between. */
  readonly ms: number;
}

export const runs = {
  ingest: { memoryMiB: 1024, ms: 80 },
  heartbeat: { memoryMiB: 1024, ms: 40 },
  /** A header or a frame read through gateway-api. */
  read: { memoryMiB: 1024, ms: 40 },
  schedule: { memoryMiB: 512, ms: 200 },
  /** A minute's layers, thinning, collection or scrub of the whole site: most find nothing to do. */
  ageing: { memoryMiB: 1024, ms: 400 },
  task: { memoryMiB: 512, ms: 60 },
} as const satisfies Record<string, Run>;

/** Sizes and counts that the code has, as far as they cost something. */
export const assumed = {
  /** JSON lines of one invocation: Lambda's report and one of ours. */
  logBytesPerRun: 600,
  /** A batch's item, its checkpoint in it, with DynamoDB's own 100 bytes; under the 1 KB of a write unit unless it touches very many pages. */
  rowBytesPerBatch: 800,
  /** An item of the list of a gateway's VPGs; a query reads them 4 KB a read unit. */
  indexRowBytes: 100,
  /** States that failover-test enters, with two boot groups; of those two thirds are tasks. */
  transitionsPerTest: 30,
  tasksPerTest: 20,
  /** How long a test stays open: its gateways call every second meanwhile. */
  testSeconds: 3600,
  /** Part of the volumes that the VMs of a test read: an operating system's start and an application's checks. */
  readPartOfTest: 0.05,
  /** As infra/constructs/site-alarms.ts makes them. */
  alarms: 36,
  dashboards: 1,
  /** Figures of the whole site, by the site monitor (adapters/aws/measure.ts). */
  metrics: 6,
  /** The reconciler and the site monitor. */
  schedulesPerMinute: 2,
  /** The compactor, which thins too, the collector, and the scrub. */
  ageingPerMinute: 3,
  /** Of a journal that is read back and decompressed, a TB in four hours: measured on one core, not on AWS. */
  scrubBytesPerGbSecond: 2 ** 40 / 14_400,
} as const;

export function add(...usages: readonly Usage[]): Usage {
  const total: Partial<Record<Meter, number>> = {};
  for (const usage of usages)
    for (const meter of metersOf(usage)) total[meter] = (total[meter] ?? 0) + (usage[meter] ?? 0);
  return total;
}

export function multiply(usage: Usage, count: number): Usage {
  const product: Partial<Record<Meter, number>> = {};
  for (const meter of metersOf(usage)) product[meter] = (usage[meter] ?? 0) * count;
  return product;
}

function metersOf(usage: Usage): readonly Meter[] {
  return meterNames.filter((meter) => usage[meter] !== undefined);
}

export function invocation({ memoryMiB, ms }: Run): Usage {
  return {
    lambdaRequests: 1,
    lambdaGbSeconds: (memoryMiB / 1024) * (ms / 1000),
    logsInGb: assumed.logBytesPerRun / GB,
    logsStoredGb: assumed.logBytesPerRun / GB,
  };
}

/** What is protected, and how it changes. Rates are averages over all of it. */
export interface Workload {
  readonly vpgs: number;
  /** Gateways of either side; each sends its own heartbeats. */
  readonly gateways: number;
  readonly volumesBytes: number;
  /** What guests write, counted after coalescing and before compression: it fills batches. */
  readonly payloadBytesPerSecond: number;
  /** What arrives at the site: the same, compressed. */
  readonly shippedBytesPerSecond: number;
  readonly checkpointIntervalMs: number;
  readonly historyMs: number;
  /** Without one every checkpoint of the history is kept. */
  readonly retention?: { readonly tiers: readonly Tier[] } | undefined;
  readonly testsPerMonth: number;
  /** Where the source runs: in another region of AWS its traffic costs, elsewhere what comes in is free. */
  readonly source: "outside" | "other-region";
  /** A key of the site's own instead of S3's and DynamoDB's. */
  readonly ownKey: boolean;
}

/** Batches of one VPG for one checkpoint interval: one at the marker, and one more for every 4 MiB before it. */
export function batchesPerInterval({ vpgs, payloadBytesPerSecond, checkpointIntervalMs }: Workload): number {
  const payload = (payloadBytesPerSecond / vpgs) * (checkpointIntervalMs / 1000);
  return Math.max(1, Math.ceil(payload / payloadBytesMax));
}

/** Over the whole workload, while every VPG is written to. */
export function batchesPerSecond(workload: Workload): number {
  return (workload.vpgs * batchesPerInterval(workload)) / (workload.checkpointIntervalMs / 1000);
}

/** One interval of one VPG: each batch is one PUT and one plain write of one item, the last one's with the checkpoint. */
export function intervalUsage(workload: Workload): Usage {
  const batches = batchesPerInterval(workload);
  return add(multiply(invocation(runs.ingest), batches), { s3Puts: batches, dynamodbWrites: batches });
}

/**
 * One heartbeat: the gateway's item is written; the list of its VPGs, each of those and its commands are read. While its VPG is
 * idle the newest checkpoint's item is read and written; with several source gateways each one's session is looked at too,
 * which is left out here.
 */
export function heartbeatUsage({ vpgs, gateways }: Pick<Workload, "vpgs" | "gateways">, idle: boolean): Usage {
  // Every VPG has a gateway at either side; one gateway may be that of many.
  const own = Math.ceil(Math.min(vpgs, (2 * vpgs) / gateways));
  const list = Math.ceil((own * assumed.indexRowBytes) / 4096);
  const usual = add(invocation(runs.heartbeat), { dynamodbWrites: 1, dynamodbReads: list + own + 1 });
  return idle ? add(usual, { dynamodbWrites: 1, dynamodbReads: 1 }) : usual;
}

/** A failover test: its states, its gateways' calls every second, what its VMs read through gateway-api, header and frame. */
export function testUsage(workload: Workload): Usage {
  const bytes = (workload.volumesBytes / workload.vpgs) * assumed.readPartOfTest;
  const reads = 2 * Math.ceil(bytes / frameBytesMax);
  const seconds = assumed.testSeconds;
  const extraHeartbeats = 2 * (seconds - seconds / (protectionLimits.heartbeatIntervalMs / 1000));
  return add(
    { transitions: assumed.transitionsPerTest, transferOutGb: bytes / GB },
    multiply(add(invocation(runs.task), { dynamodbReads: 3, dynamodbWrites: 2 }), assumed.tasksPerTest),
    multiply(add(invocation(runs.read), { s3Gets: 1 }), reads),
    multiply(heartbeatUsage(workload, false), extraHeartbeats),
  );
}

/** What a site costs by being there: alarms, a dashboard, metrics, its schedules that walk over the VPGs, perhaps a key. */
export function siteUsage({ vpgs, ownKey }: Pick<Workload, "vpgs" | "ownKey">): Usage {
  const minutes = monthSeconds / 60;
  return add(
    { alarms: assumed.alarms, dashboards: assumed.dashboards, metrics: assumed.metrics },
    multiply(add(invocation(runs.schedule), { dynamodbReads: 3 * vpgs }), minutes * assumed.schedulesPerMinute),
    multiply(invocation(runs.ageing), minutes * assumed.ageingPerMinute),
    ownKey ? { kmsKeys: 1 } : {},
  );
}

/** Listed checkpoints of one VPG once the history is full: by its tiers, or all of them where there is no retention. */
export function listedCheckpoints({ retention, historyMs, checkpointIntervalMs }: Workload): number {
  const tiers = retention?.tiers ?? [{ everyMs: 0, forMs: historyMs }];
  let [listed, beforeMs] = [0, 0];
  for (const { everyMs, forMs } of tiers) {
    const endMs = Math.min(historyMs, forMs);
    listed += Math.max(0, endMs - beforeMs) / Math.max(everyMs, checkpointIntervalMs);
    beforeMs = Math.max(beforeMs, endMs);
  }
  return listed;
}

/** Rows of one VPG in the table: those of batches go once packs stand for them, on average after half the time between two passes. */
export function rowsKept(workload: Workload): number {
  const { retention, historyMs, checkpointIntervalMs } = workload;
  const perMs = batchesPerInterval(workload) / checkpointIntervalMs;
  if (retention === undefined) return historyMs * perMs;
  return listedCheckpoints(workload) + (retentionLimits.packEveryMs / 2) * perMs;
}

/**
 * What lies there once the history is full: the first copy, compressed as the changes are, and the history's batches and rows. Of what
 * was written over between two kept checkpoints packs hold less, which nobody knows beforehand: all of it is counted.
 */
export function storedUsage(workload: Workload): Usage {
  const { vpgs, volumesBytes, shippedBytesPerSecond, payloadBytesPerSecond, historyMs } = workload;
  const ratio = payloadBytesPerSecond > 0 ? Math.min(1, shippedBytesPerSecond / payloadBytesPerSecond) : 1;
  const rows = payloadBytesPerSecond > 0 ? vpgs * rowsKept(workload) * assumed.rowBytesPerBatch : 0;
  return {
    s3StoredGb: (volumesBytes * ratio + shippedBytesPerSecond * (historyMs / 1000)) / GB,
    dynamodbStoredGb: rows / GB,
    dynamodbBackupGb: rows / GB,
  };
}
