import type { GatewayMeans } from "#core/api/gateway-api.ts";
import { formatBytes } from "#core/units.ts";
import type { Vm } from "./definition.ts";

/** One line of a failover check. */
export interface CheckLine {
  readonly what: string;
  readonly state: "ok" | "warning" | "blocked";
  readonly detail: string;
}

export const line = (what: string, state: CheckLine["state"], detail: string): CheckLine => ({ what, state, detail });

/** Whether a gateway's hooks boot each of these VMs, and stop it again at a rollback or the end of a test. */
export function hooksLine(gateway: string, vms: readonly Vm[], means: GatewayMeans | null): CheckLine {
  const hooks = means?.hooks ?? null;
  if (hooks === null) return line("hooks", "warning", `gateway ${gateway} has not told which hooks it has`);
  const without = missing(vms, hooks.boot);
  if (without.length > 0) {
    return line(
      "hooks",
      "warning",
      `gateway ${gateway} has no boot hook for ${without.join(", ")}: their disks are exported, starting them is left to you`,
    );
  }
  const stays = missing(vms, [...hooks.kill, ...hooks.shutdown]);
  if (stays.length > 0) {
    return line(
      "hooks",
      "warning",
      `gateway ${gateway} has no hook to stop ${stays.join(", ")}: a rollback and the end of a test would fail there`,
    );
  }
  return line(
    "hooks",
    "ok",
    `gateway ${gateway} can boot and stop ${vms.length === 1 ? "the VM" : `all ${vms.length} VMs`}`,
  );
}

/** VMs that a graceful shutdown at their source would fail for. */
export function notGraceful(vms: readonly Vm[], means: GatewayMeans): readonly string[] {
  const { hooks } = means;
  if (hooks === null) return [];
  return [...new Set([...missing(vms, hooks.shutdown), ...missing(vms, hooks.status)])];
}

/** Whether the promoted disks of a commit would have room; until then only what guests write takes any. */
export function spaceLine(gateway: string, vms: readonly Vm[], means: GatewayMeans | null): CheckLine {
  const freeBytes = means?.freeBytes ?? null;
  if (freeBytes === null) {
    return line("space", "warning", `gateway ${gateway} has not told what room is left in its recovery directory`);
  }
  const most = vms.flatMap(({ volumes }) => volumes).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const told = `${formatBytes(freeBytes)} are free in the recovery directory of gateway ${gateway}`;
  if (freeBytes >= most)
    return line("space", "ok", `${told}; full disks would take ${formatBytes(most)} after a commit`);
  return line(
    "space",
    "warning",
    `${told}; full disks would take ${formatBytes(most)} after a commit, until then only what is written takes room`,
  );
}

const missing = (vms: readonly Vm[], having: readonly string[]): readonly string[] =>
  vms.map(({ name }) => name).filter((name) => !having.includes(name));
