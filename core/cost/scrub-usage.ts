import { payloadBytesMax } from "#core/journal/limits.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import { scrubLimits } from "#core/scrub/limits.ts";
import { journalRate } from "#core/scrub/policy.ts";
import { add, assumed, GB, monthSeconds, multiply, rowsKept, storedUsage, type Usage, type Workload } from "./usage.ts";

const monthMs = monthSeconds * 1000;

/** What a month's round of reading the journals back takes: each object is asked for once, each run reads what it needs to know and writes where it is. */
export function scrubUsage(workload: Workload): Usage {
  const { vpgs } = workload;
  const bytes = ((storedUsage(workload).s3StoredGb ?? 0) * GB) / vpgs;
  const seconds = Math.min(monthSeconds, bytes / journalRate(undefined, bytes, false));
  const runs = Math.max(1, (seconds * 1000) / scrubLimits.runEveryMs);
  const perVpg = add(
    // Each minute it is looked whether a run is due.
    { dynamodbReads: monthMs / 60_000 },
    { s3Gets: objectsKept(workload), lambdaGbSeconds: bytes / assumed.scrubBytesPerGbSecond },
    multiply({ s3Gets: 4, s3Puts: 2, dynamodbReads: 6, dynamodbWrites: 1 }, runs),
  );
  return multiply(perVpg, vpgs);
}

/** Batches, or packs in their place, and the manifests; layers and session objects are few beside them. */
function objectsKept(workload: Workload): number {
  const { vpgs, volumesBytes, payloadBytesPerSecond } = workload;
  const written = payloadBytesPerSecond > 0 ? rowsKept(workload) : 0;
  return volumesBytes / vpgs / payloadBytesMax + written + retentionLimits.manifestsKept;
}
