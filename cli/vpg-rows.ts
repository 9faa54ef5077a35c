import type { VpgView } from "#core/api/site-api.ts";
import { formatBytes, formatDuration, formatRate } from "#core/units.ts";
import { scrubRows } from "./commands/scrub.ts";
import { rpoText } from "./commands/status.ts";
import { timeText } from "./output.ts";

type Row = readonly [string, string];

function sourceText({ suspicion: { reachability, silentSince, hints } }: VpgView): string {
  const since = silentSince === null ? [] : [`silent since ${timeText(silentSince)}`];
  return [reachability, ...since, ...hints].join("; ");
}

/** What the source said last: of one that is silent, or is none any more, it is not what is now. */
function replicationText({ mode, backlogBytes, lagMs, role, substatus }: VpgView): string {
  const text = `${mode}, backlog ${formatBytes(backlogBytes)}, lag ${formatDuration(lagMs)}`;
  const now = (role === "Journal" || role === "Preparing") && substatus !== "DisconnectedFromPeer";
  return now ? text : `none now; when its source was heard last: ${text}`;
}

/** The protected site as a peer, and what stands in the way of protecting the VPG back to it. */
function peerText({ peer, reverseProblem }: VpgView): string {
  const known =
    peer === undefined
      ? []
      : [`${peer.name} at ${peer.url}, ${peer.siteId === null ? "never asked who it is" : "reachability unknown"}`];
  const problem = reverseProblem === undefined ? [] : [`no reverse protection: ${reverseProblem}`];
  return [...known, ...problem].join("; ");
}

function checkpointsText({ checkpoints, historyHeldMs, historyMs, lostTailCheckpoints }: VpgView): string {
  const held = `${checkpoints} over ${formatDuration(historyHeldMs)} of ${formatDuration(historyMs)}`;
  return lostTailCheckpoints === undefined ? held : `${held}; ${lostTailCheckpoints} in the lost tail`;
}

const leftOffText = (operations: readonly string[]): string =>
  `the source's VMs, which ${operations.join(" ")} shut down; they are powered on when their gateway is heard again`;

function retentionRows({ retention, journalBytes }: VpgView): readonly Row[] {
  if (retention === undefined) return [["Retention", "none: every checkpoint stays, nothing is deleted"]];
  const { tiers, taggedMs, journalLimit, journalFull, pressure, waits, ranAt, collectedAt } = retention;
  const kept = tiers.map(
    ({ everyMs, forMs }) =>
      `${everyMs === 0 ? "all" : `one in ${formatDuration(everyMs)}`} for ${formatDuration(forMs)}`,
  );
  const limit =
    journalLimit === null
      ? []
      : [
          `${formatBytes(journalBytes)} of ${formatBytes(journalLimit.bytes)}, then ${journalLimit.policy}`,
          ...(journalFull ? ["FULL: paused"] : []),
          ...(pressure > 0 ? [`${pressure} steps taken`] : []),
        ];
  const { liveBytes, deadBytes, leakedBytes } = retention;
  const bytes = [liveBytes, deadBytes, leakedBytes].map(formatBytes).join(" / ");
  return [
    ["Retention", `${kept.join(", ")}; tagged for ${formatDuration(taggedMs)}`],
    ...(limit.length === 0 ? [] : [["Journal limit", limit.join("; ")] as const]),
    [
      "Thinned through",
      `${retention.thinnedThrough ?? "-"}${ranAt === null ? "" : `, ${timeText(ranAt)}`}${waits === null ? "" : `; WAITS: ${waits}`}`,
    ],
    ["Layers / packs", `${retention.layers} / ${retention.packs}, manifest ${retention.manifest}`],
    ["Live / dead / leaked", collectedAt === null ? "not measured yet" : `${bytes}, ${timeText(collectedAt)}`],
  ];
}

/** What `farshore vpg show` says of a VPG, before its tables. */
export function vpgRows(vpg: VpgView): readonly Row[] {
  return [
    ["VPG", `${vpg.name} (${vpg.vpgId})`],
    ["Status", `${vpg.status} / ${vpg.substatus}`],
    ["Role", `${vpg.role}, term ${vpg.term}`],
    ["Protected site", `${vpg.protectedSite}, gateway ${vpg.sourceGateway}`],
    ["Peer", peerText(vpg)],
    ["Recovery", vpg.recoveryGateway === null ? "no compute provider" : `gateway ${vpg.recoveryGateway}`],
    ...(vpg.role === "Journal" || vpg.role === "Preparing" ? [["RPO now / target", rpoText(vpg)] as const] : []),
    ["Checkpoints", checkpointsText(vpg)],
    [
      "Newest",
      vpg.newestCheckpoint === null ? "-" : `${vpg.newestCheckpoint.id} ${timeText(vpg.newestCheckpoint.time)}`,
    ],
    [
      "Oldest",
      vpg.oldestCheckpoint === null ? "-" : `${vpg.oldestCheckpoint.id} ${timeText(vpg.oldestCheckpoint.time)}`,
    ],
    ...(vpg.barrierProblem === undefined ? [] : [["No new checkpoint", vpg.barrierProblem] as const]),
    ...(vpg.configurationProblem === undefined ? [] : [["Edit not taken up", vpg.configurationProblem] as const]),
    ...(vpg.operationFailed === undefined ? [] : [["Operation failed", vpg.operationFailed] as const]),
    ...(vpg.operationForgotten === undefined ? [] : [["Operation forgotten", vpg.operationForgotten] as const]),
    ...(vpg.sourceClosed === undefined ? [] : [["Source closed", vpg.sourceClosed] as const]),
    ...(vpg.reverseWaits === undefined ? [] : [["Reverse protection", vpg.reverseWaits] as const]),
    ["Replication", replicationText(vpg)],
    ...(vpg.throttleBytesPerSecond === undefined
      ? []
      : [["Throttle", `at most ${formatRate(vpg.throttleBytesPerSecond)}`] as const]),
    [
      "Sync",
      vpg.sync === null
        ? "-"
        : `${vpg.sync.comparedChunks}/${vpg.sync.totalChunks} chunks compared, ${vpg.sync.differingChunks} differ, ${formatBytes(vpg.sync.shippedBytes)} sent, ${vpg.sync.etaMs === null ? "time left unknown" : `${formatDuration(vpg.sync.etaMs)} left`}`,
    ],
    [
      "Written / shipped / journal",
      [vpg.writtenBytes, vpg.shippedBytes, vpg.journalBytes].map(formatBytes).join(" / "),
    ],
    ...retentionRows(vpg),
    ...scrubRows(vpg),
    ["Source", sourceText(vpg)],
    ["Trigger", `${vpg.suspicion.policy}, incident ${vpg.suspicion.incidentId ?? "-"}`],
    ["Operation", vpg.operationId ?? "-"],
    ...(vpg.powerOnDue === undefined ? [] : [["Left off", leftOffText(vpg.powerOnDue)] as const]),
    ...(vpg.syncOperationId === null ? [] : [["Delta-sync", vpg.syncOperationId] as const]),
    ["Open tests", vpg.openTests.length === 0 ? "-" : vpg.openTests.join(" ")],
  ];
}
