import type { VpgView } from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";

/** What a VPG's source wrote and shipped between two looks. */
export interface MeasuredRates {
  readonly elapsedMs: number;
  readonly writtenBytesPerSecond: number;
  readonly shippedBytesPerSecond: number;
}

type Counters = Pick<VpgView, "mode" | "writtenBytes" | "shippedBytes">;

/**
 * Rates from two samples of a session's counters. They move with heartbeats, so an end may be 5 s off: measure for a minute or
 * longer. Throws `InvalidInput` when the samples don't belong together or a sync is in them, which is no rate of change.
 */
export function ratesOf(first: Counters, last: Counters, elapsedMs: number): MeasuredRates {
  for (const sample of [first, last]) assertReplicating(sample);
  const written = last.writtenBytes - first.writtenBytes;
  const shipped = last.shippedBytes - first.shippedBytes;
  if (written < 0 || shipped < 0) throw new InvalidInput("a new session began meanwhile: measure again");
  const seconds = elapsedMs / 1000;
  return { elapsedMs, writtenBytesPerSecond: written / seconds, shippedBytesPerSecond: shipped / seconds };
}

/** Before a wait that would be for nothing. Throws `InvalidInput`. */
export function assertReplicating({ mode }: Pick<VpgView, "mode">): void {
  if (mode !== "replicating") throw new InvalidInput(`the VPG is not replicating but ${mode}: measure again later`);
}
