import { appliedRetention } from "#core/retention/policy.ts";
import type { CheckpointScan } from "./checkpoint-scan.ts";
import type { VpgDefinition } from "./definition.ts";
import { protectionLimits as limits } from "./limits.ts";

interface Ends {
  readonly oldest: { readonly time: number } | null | undefined;
  readonly newest: { readonly time: number; readonly validThrough: number } | null | undefined;
}

export interface History {
  /** Source time from the oldest checkpoint to the end of the newest one's validity: any second of it can be recovered. */
  readonly heldMs: number;
  /** The least it should be: as long as is wanted or as the term's checkpoints have come, less `historyGapPart` and what the tiers make coarse. */
  readonly dueMs: number;
}

/**
 * How far a VPG's checkpoints reach back, and how far they should. They reach back less when a journal limit of policy shorten lets
 * them go, while a history that was made longer grows, or when the time that the source was away for is as old as the history: what
 * was before it goes, and only what came since is young enough. Without retention nothing is let go; of
 * several source gateways nobody keeps when the first barrier was, and nothing is due.
 */
export function historyOf(
  { historyMs, retention, checkpointIntervalMs, targetRpoMs }: VpgDefinition,
  { sessions, digest }: Pick<CheckpointScan, "sessions" | "digest">,
  { oldest, newest }: Ends,
): History {
  if (oldest == null || newest == null) return { heldMs: 0, dueMs: 0 };
  // validThrough is the site's clock's, which may be behind the source's.
  const end = Math.max(newest.time, newest.validThrough);
  const heldMs = end - oldest.time;
  const term = sessions.at(-1)?.state.claim.term;
  const first = sessions.find(({ state, progress }) => state.claim.term === term && progress.oldest !== null);
  if (retention === undefined || first?.progress.oldest == null) return { heldMs, dueMs: 0 };
  const wantedMs = Math.min(historyMs, retention.tiers.at(-1)?.forMs ?? 0);
  const { tiers } = appliedRetention(retention, historyMs, digest?.fields.pressure ?? 0);
  // Of the interval in which the wanted history ends, the last checkpoint alone is kept.
  const coarseMs = tiers[retention.tiers.findIndex(({ forMs }) => forMs >= wantedMs)]?.everyMs ?? 0;
  const ageMs = end - first.progress.oldest.time;
  const dueMs = Math.min(wantedMs * (1 - limits.historyGapPart), ageMs) - coarseMs - checkpointIntervalMs - targetRpoMs;
  return { heldMs, dueMs: Math.max(0, dueMs) };
}
