/** Bounds of delta-syncs; those of the comparison itself are in core/sync/limits.ts. */
export const deltaSyncLimits = {
  /** Without a sign of life for so long a gateway's hashing or shipping counts as unanswered: its own restart, and a site's, take less. */
  commandExpiryMs: 900_000,
  /** A sync that has ended is followed by a checkpoint at once; one that isn't listed by then never will be. */
  verifyMsMax: 900_000,
  /** Hashes and want-lists are kept for so long by a site in one process; on AWS by a rule of the bucket. */
  objectsKeptMs: 2 * 86_400_000,
} as const;
