import { z } from "zod";
import { endsSession } from "#core/journal/batch.ts";
import type { Pack } from "#core/journal/digest.ts";
import type { SessionClaim } from "#core/journal/session-claim.ts";
import type { BatchRow } from "./batch-row.ts";

const place = z.object({ sequence: z.int(), time: z.int() });

/**
 * How far a session is known to be whole: a fold over its batches in order, so that counts and the newest checkpoint
 * cost nothing to ask for. What it says never shrinks; it is kept with the session's item as a cache.
 */
export const progressSchema = z.object({
  /** Length of the unbroken run 0..k: the first absent batch's number. */
  batches: z.int().min(0),
  lastSequence: z.int().min(0),
  /** Hash of the last batch, in hex; zeros before the first. */
  hash: z.string(),
  bytes: z.int().min(0),
  /** Volumes whose image is a mixture now (R12). */
  syncing: z.array(z.int()),
  /** Ended by a close or a final record. */
  closed: z.boolean(),
  /** `sealed`: a SEAL stands behind the last batch. `broken`: what stands there doesn't go on from it. Both final. */
  end: z.enum(["open", "sealed", "broken"]),
  /** Valid checkpoints inside; of a VPG with several source gateways none, their barriers are counted elsewhere. */
  checkpoints: z.int().min(0),
  oldest: place.nullable(),
  newest: place.nullable(),
});
export type SessionProgress = z.infer<typeof progressSchema>;

const noHash = "0".repeat(64);

/** Before the first batch. A session that doesn't continue another's disks begins with every volume unlike its journal. */
export function startOf(claim: SessionClaim): SessionProgress {
  return {
    batches: 0,
    lastSequence: 0,
    hash: noHash,
    bytes: 0,
    syncing: claim.continues ? [] : claim.volumes.map(({ volume }) => volume),
    closed: false,
    end: "open",
    checkpoints: 0,
    oldest: null,
    newest: null,
  };
}

/** One batch further, or the batches that a pack stands for; what doesn't follow breaks the run for ever. In a session of seeds nothing is ever synced. */
export function advance(
  { seed }: Pick<SessionClaim, "seed">,
  progress: SessionProgress,
  row: BatchRow,
  pack?: Pack,
): SessionProgress {
  const follows =
    row.batch === progress.batches && row.previous === progress.hash && row.firstSequence === progress.lastSequence + 1;
  if (!follows || progress.closed) return { ...progress, end: "broken" };
  const syncing = new Set(progress.syncing);
  for (const event of seed ? [] : row.events) {
    if (event.kind === "sync-begin") syncing.add(event.volume);
    if (event.kind === "sync-end") syncing.delete(event.volume);
  }
  // A marker is its batch's last record, so the state after all events is the marker's.
  // A barrier needs other sessions too, so it is not this fold's to count (barrier-fold.ts).
  const counts = !seed && row.marker?.vector === undefined && syncing.size === 0;
  const listed = counts ? row.marker : null;
  const newest = listed === null ? progress.newest : { sequence: listed.sequence, time: listed.time };
  return {
    batches: pack?.to ?? progress.batches + 1,
    lastSequence: row.lastSequence,
    hash: row.sha256,
    bytes: progress.bytes + (pack?.replacedBytes ?? row.bytes),
    syncing: [...syncing].sort((left, right) => left - right),
    closed: row.events.some(endsSession),
    end: "open",
    checkpoints: progress.checkpoints + (pack?.checkpoints ?? (listed === null ? 0 : 1)),
    oldest: progress.oldest ?? newest,
    newest,
  };
}
