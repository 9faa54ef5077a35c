import { type FarshoreError, NoCheckpoint } from "#core/errors.ts";
import type { Position } from "#core/journal/position.ts";
import type { SessionLog } from "../tap/session-log.ts";

/** Resolves when the site has everything up to the position. Throws `NoCheckpoint` when the session ends first. */
export async function durable(log: SessionLog, position: Position, signal: AbortSignal): Promise<void> {
  const same = (): boolean => log.session?.session === position.session;
  await log.changes.until(() => !same() || (log.backlog?.acknowledgedSequence ?? 0) >= position.sequence, signal);
  if (same()) return;
  const error: FarshoreError = new NoCheckpoint(
    "the session ended before the checkpoint was durable at the recovery site",
  );
  throw error;
}
