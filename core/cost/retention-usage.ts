import { compactionLimits } from "#core/compaction/limits.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import {
  add,
  assumed,
  batchesPerInterval,
  listedCheckpoints,
  monthSeconds,
  multiply,
  rowsKept,
  type Usage,
  type Workload,
} from "./usage.ts";

const monthMs = monthSeconds * 1000;
const minuteMs = 60_000;

/** What the site's timers ask of bucket and table in a month, to keep the journals of a workload small and quick to open. */
export function ageingUsage(workload: Workload, state: "idle" | "busy"): Usage {
  const { vpgs, checkpointIntervalMs } = workload;
  const intervals = state === "idle" ? 0 : monthMs / checkpointIntervalMs;
  const perVpg = add(
    looksUsage(workload),
    multiply(layerUsage, (intervals * batchesPerInterval(workload)) / batchesPerLayer(workload)),
    multiply({ s3Gets: 1 }, intervals * batchesPerInterval(workload)),
    thinningUsage(workload, intervals),
  );
  return multiply(perVpg, vpgs);
}

/** Each minute of a VPG: the manifest's number, whether a next one is there, sessions, what stands of retention. */
function looksUsage({ retention }: Workload): Usage {
  const each = retention === undefined ? { s3Gets: 1, dynamodbReads: 5 } : { s3Gets: 9, dynamodbReads: 6 };
  return multiply(each, monthMs / minuteMs);
}

/** The batches of whole minutes, at least as many as a layer takes. */
function batchesPerLayer(workload: Workload): number {
  const perMinute = (batchesPerInterval(workload) * minuteMs) / workload.checkpointIntervalMs;
  const least = compactionLimits.layerBatchesMin;
  return Math.ceil(Math.max(1, least / perMinute)) * perMinute;
}

/**
 * A layer of batches, and with it a third of a merge: one in four, of those one in four, and so on. Each is an object and a manifest,
 * what a merge replaced another manifest; a merge reads a directory and a run of sections of each of its layers.
 */
const merges = 1 / (compactionLimits.mergeLayersMin - 1);
const layerUsage: Usage = {
  s3Puts: 2 * (1 + merges) + merges,
  s3Gets: 2 * compactionLimits.mergeLayersMin * merges + 1 + 2 * merges,
  dynamodbWrites: 1 + 2 * merges,
};

/**
 * Every quarter of an hour of a VPG with retention: a digest and a manifest, the collector's listings of five areas and its own manifest,
 * a listing of operations by each, and the rows of checkpoints read by each of the three. A checkpoint that goes is marked and later its row deleted; every batch is read
 * into a pack, and packs end at the checkpoints that the finest tier which thins keeps.
 */
function thinningUsage(workload: Workload, intervals: number): Usage {
  const { retention, checkpointIntervalMs } = workload;
  if (retention === undefined) return {};
  const keptEveryMs = Math.max(checkpointIntervalMs, retention.tiers.find(({ everyMs }) => everyMs > 0)?.everyMs ?? 0);
  // An idle VPG has what is left of when it was not, and the batches that are never packed.
  const rows =
    intervals > 0
      ? rowsKept(workload)
      : listedCheckpoints({ ...workload, checkpointIntervalMs: keptEveryMs }) + retentionLimits.openBatches;
  const reads = Math.ceil((rows * assumed.rowBytesPerBatch) / 4096);
  const round: Usage = { s3Puts: 13, dynamodbWrites: 5, dynamodbReads: 3 * reads };
  const keptShare = checkpointIntervalMs / keptEveryMs;
  const batches = intervals * batchesPerInterval(workload);
  return add(multiply(round, monthMs / retentionLimits.thinEveryMs), {
    s3Puts: intervals * keptShare,
    s3Gets: batches,
    dynamodbWrites: 2 * intervals * (1 - keptShare),
  });
}
