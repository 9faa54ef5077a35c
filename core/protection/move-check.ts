import type { StreamState } from "#core/api/gateway-api.ts";
import type { Site } from "#core/site.ts";
import { formatBytes, formatDuration, formatRate } from "#core/units.ts";
import { type CheckLine, line, notGraceful } from "./check-means.ts";
import { type SourceGateway, sourceGatewaysOf, vmsOfGateway } from "./definition.ts";
import { checkWith, type FailoverCheck } from "./failover-check.ts";
import { findGateway, isConnected, streamOf } from "./gateway-store.ts";
import { reverseProblem } from "./peer.ts";
import { findPeer } from "./peers.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** What a move would find now: nothing is changed. What a failover can do without, a move can't: a source that answers and is whole. */
export async function moveCheck(site: Site, vpg: VpgRecord): Promise<FailoverCheck> {
  const sources = await Promise.all(sourceGatewaysOf(vpg.definition).map((gateway) => linesOf(site, vpg, gateway)));
  return checkWith(site, vpg, [...sources.flat(), await peerLine(site, vpg)], { haveAllVolumes: true });
}

async function linesOf(site: Site, vpg: VpgRecord, { gatewayId, name }: SourceGateway): Promise<readonly CheckLine[]> {
  const gateway = await findGateway(site, gatewayId);
  if (!isConnected(gateway, site.clock.now())) {
    const cure = "a move needs it: start it, or fail over (farshore failover live)";
    return [line("source", "blocked", `gateway ${name} is silent; ${cure}`)];
  }
  const stream = streamOf(gateway, vpg.vpgId);
  if (stream?.mode !== "replicating" || vpg.paused) {
    const mode = vpg.paused ? "paused" : (stream?.mode ?? "no-session");
    const cure = vpg.paused ? `farshore vpg resume ${vpg.definition.name}, and ` : "";
    return [line("source", "blocked", `gateway ${name} is in mode ${mode}; ${cure}wait until it replicates`)];
  }
  const backlog = `${formatBytes(stream.backlogBytes)} and ${formatDuration(stream.lagMs)} behind, which is shipped with the VMs down`;
  const vms = vmsOfGateway(vpg.definition, gatewayId);
  return [
    line("source", "ok", `gateway ${name} is connected and replicates; ${backlog}`),
    ...throttleLines(name, stream),
    ...(gateway.means === null ? [hooksUnknown(name)] : hookLines(name, vms, gateway.means)),
  ];
}

/** There while the gateway may ship no faster than a throttle lets it: the VMs are down until all is here. */
function throttleLines(
  name: string,
  { backlogBytes, throttleBytesPerSecond: rate }: StreamState,
): readonly CheckLine[] {
  if (rate === undefined) return [];
  const time = formatDuration((backlogBytes * 1000) / rate);
  const detail =
    `gateway ${name} ships at most ${formatRate(rate)} (farshore gateway throttle ${name} --off, or its schedule): ${time} for what ` +
    "waits now, and longer for what is written until the VMs are down or was just sent, since that counts too";
  return [line("throttle", "warning", detail)];
}

const hooksUnknown = (name: string): CheckLine =>
  line(
    "shutdown",
    "warning",
    `gateway ${name} has not told which hooks it has; a VM without shutdown and status fails a move`,
  );

function hookLines(
  name: string,
  vms: Parameters<typeof notGraceful>[0],
  means: Parameters<typeof notGraceful>[1],
): readonly CheckLine[] {
  if (means.hooks === null) return [hooksUnknown(name)];
  const without = notGraceful(vms, means);
  if (without.length > 0) {
    const detail = `gateway ${name} has no shutdown and status hooks for ${without.join(", ")}: a move shuts down gracefully`;
    return [line("shutdown", "blocked", detail)];
  }
  const removable = new Set(means.hooks.remove);
  const removed = vms.map((vm) => vm.name).filter((vm) => removable.has(vm));
  const remove =
    removed.length === 0
      ? "no VM has a remove hook, so --source remove would remove nothing"
      : `--source remove would remove ${removed.join(", ")}`;
  return [
    line("shutdown", "ok", `gateway ${name} can shut down ${vms.map((vm) => vm.name).join(", ")}`),
    line("remove", "ok", remove),
  ];
}

async function peerLine(site: Site, { definition }: VpgRecord): Promise<CheckLine> {
  const { protectedSite } = definition;
  const problem = reverseProblem(protectedSite, await findPeer(site, protectedSite));
  if (problem === undefined)
    return line("reverse", "ok", `reverse protection to ${protectedSite} is possible after the commit`);
  return line("reverse", "warning", `no reverse protection after the commit: ${problem.message}`);
}
