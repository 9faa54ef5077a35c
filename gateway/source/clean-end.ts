import type { Clock, Log } from "#core/ports.ts";
import { withTimeout } from "../control/time-out.ts";
import type { SourceState } from "../state/source-state.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { SourceDisks } from "./source-disks.ts";
import type { SourceSession } from "./source-session.ts";

interface EndParts {
  readonly disks: SourceDisks;
  readonly sessionLog: SessionLog;
  readonly session: SourceSession;
  readonly state: SourceState;
  readonly clock: Clock;
  readonly log: Log;
  readonly drainMs: number;
}

/** Ends a session whose guests are gone: close record, everything acknowledged, and the state says what the disks were then. */
export async function endCleanly({
  disks,
  sessionLog,
  session,
  state,
  clock,
  log,
  drainMs,
}: EndParts): Promise<boolean> {
  try {
    await disks.flush();
  } catch (error) {
    log.error("disk.flush-failed", { error });
  }
  // A failed flush has made its regions suspects, and then there is no close.
  const closed = sessionLog.close();
  const drained = await drain(sessionLog, session, clock, drainMs);
  const whole = closed && drained && !session.over;
  const acknowledgedBatch = sessionLog.backlog?.acknowledgedBatch ?? state.facts.acknowledgedBatch;
  const end = whole ? (sessionLog.lastPosition ?? null) : null;
  const known = whole ? await disks.identify() : [];
  const journalVolumes = whole ? sessionLog.volumes.tracks.map(({ journalVolume }) => journalVolume) : [];
  await state.save({ acknowledgedBatch, clean: whole, disks: known, journalVolumes, end });
  log.info("source.closed", { clean: whole, drained, mode: sessionLog.mode });
  return whole;
}

async function drain(sessionLog: SessionLog, session: SourceSession, clock: Clock, drainMs: number): Promise<boolean> {
  const wanted = sessionLog.lastPosition?.sequence ?? 0;
  const drained = (): boolean => sessionLog.backlog?.acknowledgedSequence === wanted;
  const until = withTimeout(clock, drainMs, (signal) => sessionLog.changes.until(drained, signal)).then(
    () => true,
    () => false,
  );
  return await Promise.race([until, session.ended.then(() => false)]);
}
