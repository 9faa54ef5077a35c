import { chunkBytes } from "#core/blocks/geometry.ts";
import { CommandFailed, Transient } from "#core/errors.ts";
import type { Position } from "#core/journal/position.ts";
import type { Clock } from "#core/ports.ts";
import type { HashResult, ShipResult } from "#core/protection/command.ts";
import type { CommandHandlers } from "../control/handlers.ts";
import { withTimeout } from "../control/time-out.ts";
import { sessionAwaitedMs } from "../limits.ts";
import { durable } from "../source/durable.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { LogSession } from "../tap/session-types.ts";
import type { SyncRunner } from "./sync-runner.ts";

export interface SyncCommandParts {
  readonly vpgName: string;
  readonly sessionLog: SessionLog;
  readonly sync: Pick<SyncRunner, "planner" | "figures">;
  readonly clock: Clock;
}

/** Of a delta-sync for which no sync ran: the last one's figures are another's. */
const nothingShipped = { differingChunks: 0, shippedBytes: 0 };

/** What a delta-sync asks of a capture half: both are done by the engine's own sync (volume-sync.ts), planned (planner.ts). */
export function syncHandlers(parts: SyncCommandParts): Pick<CommandHandlers, "hash-volumes" | "ship-wanted"> {
  const { vpgName, sessionLog, sync, clock } = parts;
  const planner = () => {
    if (sync.planner !== undefined) return sync.planner;
    throw new CommandFailed(`this capture of ${vpgName} makes no plans`);
  };
  const session = async (signal: AbortSignal): Promise<LogSession> => {
    const open = (): boolean => sessionLog.session !== undefined;
    try {
      if (!open()) await withTimeout(clock, sessionAwaitedMs, (inner) => sessionLog.changes.until(open, inner), signal);
    } catch (error) {
      // That the time is up is said below, with what it means.
      if (!(error instanceof Transient)) throw error;
    }
    if (sessionLog.session !== undefined) return sessionLog.session;
    throw new CommandFailed(`${vpgName} has no session at its site: there is nothing to be compared for`);
  };
  const assertGoesOn = (): void => {
    const { mode } = sessionLog;
    if (mode !== "paused" && mode !== "closed") return;
    throw new CommandFailed(`replication of ${vpgName} is ${mode}: nothing is compared until it goes on`);
  };
  return {
    "hash-volumes": async ({ operationId, vpgId, force }, context) => {
      await session(context.signal);
      // What overflowed is soon journaled again; before that no sync begins, and there is nothing to plan.
      const journals = (): boolean => {
        assertGoesOn();
        return sessionLog.journaling || sessionLog.session === undefined;
      };
      await sessionLog.changes.until(journals, context.signal);
      planner().begin(operationId, vpgId, force);
      const told = (done: number, total: number): void => context.progress(done, total, "pages");
      const { pages, hashedBytes } = await planner().allSent(operationId, told, context.signal);
      assertGoesOn();
      return { pages, hashedBytes } satisfies HashResult;
    },
    "ship-wanted": async ({ operationId }, context) => {
      const { signal } = context;
      const { session: ordinal } = await session(signal);
      const { pages, pagesAlone, synced } = await planner().settle(operationId, signal);
      const left = (): number => sessionLog.tracks.reduce((sum, track) => sum + track.suspects.count, 0);
      const total = left();
      const same = (): boolean => sessionLog.session?.session === ordinal;
      let end: Position | undefined;
      const over = (): boolean => {
        context.progress(Math.max(0, total - left()), total, "chunks");
        if (!same()) return true;
        assertGoesOn();
        // No sync runs in an overflow either, and there something is suspect.
        if (sessionLog.whole) end = sessionLog.standsAt;
        return end !== undefined;
      };
      await sessionLog.changes.until(over, signal);
      if (end === undefined) {
        throw new CommandFailed(
          `session ${ordinal} of ${vpgName} ended before its sync; the next one compares everything`,
        );
      }
      await durable(sessionLog, end, signal);
      const { differingChunks, shippedBytes } = synced ? sync.figures : nothingShipped;
      const differingBytes = differingChunks * chunkBytes;
      return { pages, pagesAlone, end: { ...end }, differingBytes, shippedBytes } satisfies ShipResult;
    },
  };
}
