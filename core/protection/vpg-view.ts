import type { StreamState } from "#core/api/gateway-api.ts";
import type { CheckpointView, VpgView } from "#core/api/site-api.ts";
import type { Id } from "#core/ids.ts";
import { retentionStanding } from "#core/retention/standing.ts";
import { scrubView } from "#core/scrub/view.ts";
import type { Site } from "#core/site.ts";
import { suspicionOf } from "#core/trigger/suspicion.ts";
import { CheckpointBranch } from "./checkpoint-branch.ts";
import type { ListedCheckpoint } from "./checkpoint-row.ts";
import type { CheckpointScan } from "./checkpoint-scan.ts";
import { closedSources, closedText } from "./closed-source.ts";
import { captureRevisionOf, type SourceGateway, sourceGatewaysOf } from "./definition.ts";
import { forgottenText } from "./forgotten.ts";
import { findGateway, isConnected, streamOf } from "./gateway-store.ts";
import { historyOf } from "./history.ts";
import { latestManifest } from "./manifests.ts";
import { findPhase } from "./operation-phase.ts";
import { type Peer, reverseProblem } from "./peer.ts";
import { findPeer } from "./peers.ts";
import { reverseWaits } from "./reverse-journal.ts";
import type { KnownSession } from "./session-list.ts";
import { statusOf } from "./status.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** A checkpoint as the API tells it. */
export function checkpointView({ id, time, validThrough, tags, pins }: ListedCheckpoint): CheckpointView {
  return { id, time, validThrough, tags: [...tags], pins };
}

/** A VPG as people see it, with its status worked out from what is known now. */
export async function vpgView(site: Site, vpg: VpgRecord): Promise<VpgView> {
  const { definition, vpgId } = vpg;
  const now = site.clock.now();
  const branch = await CheckpointBranch.open(site, vpgId);
  const { scan } = branch;
  const summary = await branch.summary();
  const newest = summary.newest && (await scan.at(summary.newest.position));
  const oldest = summary.oldest && (await scan.at(summary.oldest.position));
  const sources = await Promise.all(sourceGatewaysOf(definition).map((gateway) => sourceOf(site, vpg, gateway)));
  const streams = sources.flatMap(({ stream }) => stream ?? []);
  const sum = (of: (stream: StreamState) => number): number => streams.reduce((total, each) => total + of(each), 0);
  const operation = vpg.operationId === null ? undefined : await findPhase(site, vpg.operationId);
  // What runs here or elsewhere is not protected by what this site still has of it.
  const rpoMs = newest && vpg.role === "Journal" ? Math.max(0, now - newest.validThrough) : null;
  const history = historyOf(definition, scan, { oldest, newest });
  const outdated = outdatedOf(scan, vpg, sources);
  const closed = await closedSources(site, vpg, sources);
  const { status, substatus } = statusOf({
    role: vpg.role,
    deleted: vpg.deleted,
    paused: vpg.paused,
    journalFull: vpg.journalFull,
    needsConfiguration: vpg.needsConfiguration,
    operation: operation ?? null,
    opened: vpg.lastSession > 0,
    broken: sources.some(({ gatewayId }) => newestOf(scan, gatewayId)?.progress.end === "broken"),
    connected: sources.every(({ connected }) => connected),
    outdated: outdated.length > 0,
    mode: worstMode(sources.map(({ mode }) => mode)),
    rpoMs,
    targetRpoMs: definition.targetRpoMs,
    historyHeldMs: history.heldMs,
    historyDueMs: history.dueMs,
  });
  const waits = await reverseWaits(site, vpg);
  return {
    vpgId,
    name: definition.name,
    status,
    substatus,
    role: vpg.role,
    term: vpg.term,
    protectedSite: definition.protectedSite,
    ...peerFields(definition.protectedSite, await findPeer(site, definition.protectedSite)),
    sourceGateway: definition.sourceGatewayName,
    recoveryGateway: definition.recoveryGatewayName,
    compute: definition.compute,
    targetRpoMs: definition.targetRpoMs,
    checkpointIntervalMs: definition.checkpointIntervalMs,
    rpoMs,
    historyMs: definition.historyMs,
    historyHeldMs: history.heldMs,
    checkpoints: summary.total,
    ...(summary.inLostTails === 0 ? {} : { lostTailCheckpoints: summary.inLostTails }),
    newestCheckpoint: newest ? checkpointView(newest) : null,
    oldestCheckpoint: oldest ? checkpointView(oldest) : null,
    operationId: vpg.operationId,
    syncOperationId: vpg.syncOperationId,
    openTests: vpg.openTests,
    ...(vpg.powerOnDue.length === 0 ? {} : { powerOnDue: vpg.powerOnDue }),
    suspicion: await suspicionOf(site, vpg),
    backlogBytes: sum(({ backlogBytes }) => backlogBytes),
    lagMs: Math.max(0, ...streams.map(({ lagMs }) => lagMs)),
    mode: worstMode(sources.map(({ mode }) => mode)),
    sync: streams.find(({ sync }) => sync !== null)?.sync ?? null,
    lastSync: streams.find(({ lastSync }) => lastSync !== undefined)?.lastSync ?? null,
    writtenBytes: sum(({ writtenBytes }) => writtenBytes),
    shippedBytes: sum(({ shippedBytes }) => shippedBytes),
    journalBytes: scan.summary().journalBytes,
    ...(await retentionFields(site, vpg, scan)),
    scrub: await scrubView(site, vpg),
    ...(sources.length > 1 ? groupFields(sources) : {}),
    ...(outdated.length > 0 ? { configurationProblem: outdated.join("; ") } : {}),
    ...forgottenFields(vpg),
    ...(waits === "" ? {} : { reverseWaits: waits }),
    ...(closed.length > 0 ? { sourceClosed: closed.map((source) => closedText(vpg, source)).join("; ") } : {}),
    ...throttleOf(streams),
    revision: definition.revision,
    vms: definition.vms.map((vm) => ({
      name: vm.name,
      bootGroup: vm.bootGroup,
      ...(vm.sourceGateway === undefined ? {} : { sourceGateway: vm.sourceGateway.name }),
      volumes: vm.volumes.map(({ volume, name, sizeBytes }) => ({ volume, name, sizeBytes })),
    })),
  };
}

function forgottenFields(vpg: VpgRecord): Pick<VpgView, "operationForgotten" | "operationFailed"> {
  const lines = (failed: boolean): string =>
    vpg.forgotten
      .filter((each) => (each.failed ?? false) === failed)
      .map((each) => forgottenText(vpg, each))
      .join("; ");
  const [operationForgotten, operationFailed] = [lines(false), lines(true)];
  return {
    ...(operationForgotten === "" ? {} : { operationForgotten }),
    ...(operationFailed === "" ? {} : { operationFailed }),
  };
}

async function retentionFields(
  site: Site,
  { vpgId, definition, journalFull }: VpgRecord,
  { digest }: CheckpointScan,
): Promise<Pick<VpgView, "retention">> {
  if (definition.retention === undefined) return {};
  const { tiers, taggedMs, journalLimit = null } = definition.retention;
  const manifest = await latestManifest(site, vpgId);
  const { unlisted: _, deletedBytes: __, ...standing } = await retentionStanding(site, vpgId);
  return {
    retention: {
      ...standing,
      ...{ tiers, taggedMs, journalLimit, journalFull },
      pressure: digest?.fields.pressure ?? 0,
      thinnedThrough: digest?.fields.thinnedThrough ?? null,
      manifest: manifest?.manifest ?? 0,
      layers: manifest?.layers.length ?? 0,
      packs: digest?.fields.packs.length ?? 0,
    },
  };
}

function peerFields(protectedSite: string, peer: Peer | undefined): Pick<VpgView, "peer" | "reverseProblem"> {
  const problem = reverseProblem(protectedSite, peer);
  return {
    ...(peer === undefined ? {} : { peer }),
    ...(problem === undefined ? {} : { reverseProblem: problem.message }),
  };
}

interface SourceStanding {
  readonly gatewayId: Id;
  readonly name: string;
  readonly connected: boolean;
  readonly mode: StreamState["mode"];
  readonly stream: StreamState | undefined;
  /** All that it captures. */
  readonly streams: readonly StreamState[];
}

async function sourceOf(site: Site, { vpgId }: VpgRecord, gateway: SourceGateway): Promise<SourceStanding> {
  const fields = await findGateway(site, gateway.gatewayId);
  const stream = streamOf(fields, vpgId);
  return {
    ...gateway,
    connected: isConnected(fields, site.clock.now()),
    mode: stream?.mode ?? "no-session",
    stream,
    streams: fields?.streams ?? [],
  };
}

const newestOf = (scan: CheckpointScan, gatewayId: Id): KnownSession | undefined =>
  scan.sessions.findLast(({ state }) => state.claim.gatewayId === gatewayId);

function throttleOf(streams: readonly StreamState[]): Pick<VpgView, "throttleBytesPerSecond"> {
  const rates = streams.flatMap(({ throttleBytesPerSecond }) => throttleBytesPerSecond ?? []);
  return rates.length === 0 ? {} : { throttleBytesPerSecond: Math.min(...rates) };
}

/** What each source gateway waits for whose volumes, by its configuration and disks, are not those of the definition. */
function outdatedOf(scan: CheckpointScan, vpg: VpgRecord, sources: readonly SourceStanding[]): readonly string[] {
  const wanted = captureRevisionOf(vpg.definition);
  return sources.flatMap(({ gatewayId, name, stream }) => {
    const works = newestOf(scan, gatewayId)?.state.claim.configRevision ?? wanted;
    const problem = stream?.configurationProblem;
    if (works >= wanted && problem === undefined) return [];
    return `gateway ${name}: ${problem ?? `has not taken up revision ${wanted} yet`}`;
  });
}

/** What of the gateways stands between the VPG and its next checkpoint: the worst of their modes, since it needs them all. */
const fromWorst: readonly StreamState["mode"][] = [
  "fenced",
  "closed",
  "no-session",
  "initial-sync",
  "delta-sync",
  "bitmap-sync",
  "dirty",
  "paused",
  "replicating",
];

function worstMode(modes: readonly StreamState["mode"][]): StreamState["mode"] {
  return fromWorst.find((mode) => modes.includes(mode)) ?? "no-session";
}

function groupFields(sources: readonly SourceStanding[]): Pick<VpgView, "sources" | "barrierProblem"> {
  const problem = sources[0]?.connected === true ? sources[0].stream?.barrierProblem : null;
  return {
    sources: sources.map(({ name, connected, mode, stream }) => ({
      gateway: name,
      connected,
      mode,
      session: stream?.session ?? 0,
      backlogBytes: stream?.backlogBytes ?? 0,
      lagMs: stream?.lagMs ?? 0,
      sync: stream?.sync ?? null,
    })),
    ...(problem == null ? {} : { barrierProblem: problem }),
  };
}
