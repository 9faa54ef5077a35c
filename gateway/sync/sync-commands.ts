import { chunkBytes } from "#core/blocks/geometry.ts";
import { CommandFailed } from "#core/errors.ts";
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

/** What a delta-sync asks of a capture half: both are done by the engine's own sync (volume-sync.ts), planned (planner.ts). */
export function syncHandlers(parts: SyncCommandParts): Pick<CommandHandlers, "hash-volumes" | "ship-wanted"> {
  const { vpgName, sessionLog, sync, clock } = parts;
  const planner = () => {
    if (sync.planner !== undefined) return sync.planner;
    throw new CommandFailed(`this capture of ${vpgName} makes no plans`);
  };
  const session = async (signal: AbortSignal): Promise<LogSession> => {
    const open = (): boolean => sessionLog.session !== undefined;
    if (!open()) await withTimeout(clock, sessionAwaitedMs, (inner) => sessionLog.changes.until(open, inner), signal);
    if (sessionLog.session !== undefined) return sessionLog.session;
    throw new CommandFailed(`${vpgName} has no session at its site: there is nothing to be compared for`);
  };
  return {
    "hash-volumes": async ({ operationId, vpgId, force }, context) => {
      await session(context.signal);
      planner().begin(operationId, vpgId, force);
      const told = (done: number, total: number): void => context.progress(done, total, "pages");
      const { pages, hashedBytes } = await planner().allSent(operationId, told, context.signal);
      return { pages, hashedBytes } satisfies HashResult;
    },
    "ship-wanted": async ({ operationId }, context) => {
      const { signal } = context;
      const { session: ordinal } = await session(signal);
      const { pages, pagesAlone } = await planner().settle(operationId, signal);
      const left = (): number => sessionLog.tracks.reduce((sum, track) => sum + track.suspects.count, 0);
      const total = left();
      const same = (): boolean => sessionLog.session?.session === ordinal;
      const over = (): boolean => {
        context.progress(Math.max(0, total - left()), total, "chunks");
        return !same() || !sessionLog.syncing;
      };
      await sessionLog.changes.until(over, signal);
      const end = sessionLog.lastPosition;
      if (!same() || end === undefined) {
        throw new CommandFailed(
          `session ${ordinal} of ${vpgName} ended before its sync; the next one compares everything`,
        );
      }
      await durable(sessionLog, end, signal);
      const { differingChunks, shippedBytes } = sync.figures;
      const differingBytes = differingChunks * chunkBytes;
      return { pages, pagesAlone, end: { ...end }, differingBytes, shippedBytes } satisfies ShipResult;
    },
  };
}
