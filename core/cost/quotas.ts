import { protectionLimits } from "#core/protection/limits.ts";
import { batchesPerInterval, batchesPerSecond, heartbeatUsage, runs, type Workload } from "./usage.ts";

/** What AWS lets one site have; a number a second where nothing else is said. */
export interface Quotas {
  /** Executions of Lambda at once, over all functions of an account and region. */
  readonly lambdaConcurrency: number;
  /** Executions set aside for the functions that must not wait for others (infra/constructs/function-settings.ts). */
  readonly ingestConcurrency: number;
  readonly gatewayApiConcurrency: number;
  readonly otherReservedConcurrency: number;
  readonly s3PutsPerPrefix: number;
  readonly s3GetsPerPrefix: number;
  /** Items with one partition key. */
  readonly dynamodbKeyWrites: number;
  readonly dynamodbTableWrites: number;
  readonly dynamodbTableReads: number;
  /** Executions that may be started in one go; after that some hundred a second. */
  readonly startsAtOnce: number;
  readonly transitionsPerSecond: number;
}

/**
 * Defaults of us-east-1 ("Lambda quotas", "Best practices design patterns: optimizing Amazon S3 performance", "Quotas in Amazon
 * DynamoDB", "Step Functions service quotas"); `quotasIn` has other regions'.
 * New accounts have less.
 */
export const defaultQuotas: Quotas = {
  lambdaConcurrency: 1000,
  ingestConcurrency: 300,
  gatewayApiConcurrency: 100,
  otherReservedConcurrency: 22,
  s3PutsPerPrefix: 3500,
  s3GetsPerPrefix: 5500,
  dynamodbKeyWrites: 1000,
  dynamodbTableWrites: 40_000,
  dynamodbTableReads: 40_000,
  startsAtOnce: 1300,
  transitionsPerSecond: 5000,
};

/** Regions with the defaults above ("Step Functions service quotas": state throttling, API action throttling). */
const largeRegions: readonly string[] = ["us-east-1", "us-west-2", "eu-west-1"];

/** The defaults of a region. */
export function quotasIn(region: string): Quotas {
  return largeRegions.includes(region)
    ? defaultQuotas
    : { ...defaultQuotas, startsAtOnce: 800, transitionsPerSecond: 800 };
}

/** What the site's own stack decides, not AWS (infra/constructs/function-settings.ts). */
export const setAside: readonly (keyof Quotas)[] = [
  "ingestConcurrency",
  "gatewayApiConcurrency",
  "otherReservedConcurrency",
];

/** What a workload needs of one quota at its worst moment. */
export interface Need {
  readonly quota: keyof Quotas;
  readonly what: string;
  readonly needs: number;
  readonly has: number;
  /** What makes the limit higher, or the need smaller. */
  readonly moves: string;
}

/**
 * Every quota that a workload comes near, the tightest first, while all VPGs are written to and `failingOver` of them are failed
 * over at once: their gateways then call every second.
 */
export function needsOf(workload: Workload, failingOver: number, quotas: Quotas): readonly Need[] {
  const heartbeats = heartbeatsPerSecond(workload, failingOver);
  const heartbeat = heartbeatUsage(workload, false);
  const batches = batchesPerSecond(workload);
  // A failover is in a task at most all the time; its waits for gateways and guests are longer than its tasks.
  const tasks = failingOver;
  const need = (quota: keyof Quotas, what: string, needs: number, moves: string): Need => ({
    ...{ quota, what, needs, has: quotas[quota], moves },
  });
  const needs = [
    need("ingestConcurrency", "ingest-batch at once", atOnce(batches, runs.ingest.ms), moreConcurrency),
    need("gatewayApiConcurrency", "gateway-api at once", atOnce(heartbeats, runs.heartbeat.ms), moreConcurrency),
    need(
      "lambdaConcurrency",
      "functions at once",
      quotas.ingestConcurrency + quotas.gatewayApiConcurrency + quotas.otherReservedConcurrency + tasks,
      "Service Quotas: Lambda concurrent executions; or fail over in groups",
    ),
    need(
      "s3PutsPerPrefix",
      "PUTs into the bucket, before S3 has split it by VPG",
      batches,
      "nothing to do: S3 splits a busy bucket by prefix, and every VPG has its own",
    ),
    need(
      "s3PutsPerPrefix",
      "PUTs of one VPG",
      (batchesPerInterval(workload) * 1000) / workload.checkpointIntervalMs,
      "two VPGs instead of one",
    ),
    need(
      "dynamodbKeyWrites",
      "writes of one VPG's batches, all under its key",
      (batchesPerInterval(workload) * 1000) / workload.checkpointIntervalMs,
      "two VPGs instead of one",
    ),
    need(
      "dynamodbKeyWrites",
      "operations begun in one go, all listed under one key",
      failingOver * writeUnitsInTransaction,
      "fail over in groups",
    ),
    need(
      "dynamodbTableReads",
      "reads of heartbeats",
      heartbeats * (heartbeat.dynamodbReads ?? 0),
      "Service Quotas: table-level read throughput; or fail over in groups",
    ),
    need(
      "dynamodbTableWrites",
      "writes of batches, checkpoints and heartbeats",
      batches + heartbeats,
      "Service Quotas: table-level write throughput; or a longer checkpoint interval",
    ),
    need("startsAtOnce", "executions started in one go", failingOver, "Service Quotas; or fail over in groups"),
    need(
      "transitionsPerSecond",
      "state transitions",
      failingOver * transitionsPerSecondOfFailover,
      "Service Quotas: StateTransition; or fail over in groups",
    ),
  ];
  return needs.sort((left, right) => right.needs / right.has - left.needs / left.has);
}

const moreConcurrency = "its reserved concurrency, within the account's";

/** DynamoDB asks twice the price for a write of a transaction, such as the one that begins an operation. */
const writeUnitsInTransaction = 2;

/** A failover enters its first ten states within about five seconds, then waits for its gateway. */
const transitionsPerSecondOfFailover = 2;

function heartbeatsPerSecond({ vpgs, gateways }: Workload, failingOver: number): number {
  const busy = vpgs === 0 ? 0 : gateways * (failingOver / vpgs);
  const { heartbeatIntervalMs, heartbeatBusyIntervalMs } = protectionLimits;
  return ((gateways - busy) * 1000) / heartbeatIntervalMs + (busy * 1000) / heartbeatBusyIntervalMs;
}

function atOnce(perSecond: number, ms: number): number {
  return perSecond * (ms / 1000);
}

/** Enough below the limit, near it, or over it: then calls are refused and tried again, and everything takes longer. */
export function judge({ needs, has }: Need): "ok" | "near" | "over" {
  if (needs > has) return "over";
  return needs > has / 2 ? "near" : "ok";
}
