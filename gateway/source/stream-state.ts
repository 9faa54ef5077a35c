import type { StreamState } from "#core/api/gateway-api.ts";
import type { Id } from "#core/ids.ts";
import type { DiskScrub } from "#core/scrub/disk-standing.ts";
import type { ClosedMark } from "../state/source-state.ts";
import type { SyncRunner } from "../sync/sync-runner.ts";
import type { SessionLog } from "../tap/session-log.ts";

/** What a heartbeat says of a source's stream. `term` is the last known one, for while no session is open. */
export function streamState(stream: {
  readonly vpgId: Id;
  readonly term: number;
  /** What closed the volumes, if they are. */
  readonly closed: Pick<ClosedMark, "operationId" | "vpgId"> | null;
  readonly log: SessionLog;
  readonly sync: SyncRunner;
  readonly barrierProblem: StreamState["barrierProblem"] | undefined;
  /** Bytes a second; undefined for no limit. */
  readonly throttle: number | undefined;
  readonly configurationProblem: string | null;
  readonly recoveredDisks: boolean;
  readonly scrub: DiskScrub;
}): StreamState {
  const { vpgId, term, closed, log, sync, barrierProblem, throttle, configurationProblem, recoveredDisks, scrub } =
    stream;
  const { writes, writtenBytes, lagMs } = log.statistics;
  return {
    vpgId,
    term: log.session?.term ?? term,
    session: log.session?.session ?? 0,
    lastSequence: log.lastPosition?.sequence ?? 0,
    acknowledgedSequence: log.backlog?.acknowledgedSequence ?? 0,
    mode: closed !== null && log.mode !== "fenced" ? "closed" : log.mode,
    idle: log.idle,
    backlogBytes: log.backlog?.unacknowledgedBytes ?? 0,
    lagMs,
    sync: sync.progress,
    ...(sync.last === null ? {} : { lastSync: sync.last }),
    ...(sync.planner?.requestId === undefined ? {} : { syncRequestId: sync.planner.requestId }),
    writes,
    writtenBytes,
    shippedBytes: log.backlog?.shippedBytes ?? 0,
    ...(barrierProblem === undefined ? {} : { barrierProblem }),
    ...(throttle === undefined ? {} : { throttleBytesPerSecond: throttle }),
    ...(configurationProblem === null ? {} : { configurationProblem }),
    ...(recoveredDisks ? { recoveredDisks } : {}),
    ...(closed === null ? {} : { closedBy: closed.operationId }),
    ...(closed === null || closed.vpgId === vpgId ? {} : { closedFor: closed.vpgId }),
    scrub,
  };
}
