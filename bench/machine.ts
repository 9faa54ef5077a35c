import { execFileSync, type StdioOptions } from "node:child_process";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { formatBytes } from "#core/units.ts";

/** Where and when figures were taken; without it they mean nothing. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly date: string;
  /** Runnable tasks, averaged over the last minute before the run: what others take of the cores disturbs every figure. */
  readonly loadAverage: number;
  /** Revision of the sources, "unknown" outside a checkout. */
  readonly revision: string;
}

export function thisMachine(root: string): Machine {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryBytes: totalmem(),
    kernel: `${type()} ${release()}`,
    node: process.versions.node,
    date: new Date().toISOString(),
    loadAverage: loadavg()[0] ?? Number.NaN,
    revision: revision(root),
  };
}

export function machineLines(machine: Machine): string[] {
  return [
    `${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)} of memory, ${machine.kernel}, Node ${machine.node}`,
    `${machine.date}, revision ${machine.revision}, load average ${machine.loadAverage.toFixed(1)} at the start`,
    ...(machine.loadAverage > machine.cores / 4
      ? ["This machine is busy with other things: ratios within a round may do, figures don't."]
      : []),
  ];
}

function revision(root: string): string {
  try {
    const stdio: StdioOptions = ["ignore", "pipe", "ignore"];
    return execFileSync("git", ["describe", "--always", "--dirty"], { cwd: root, encoding: "utf8", stdio }).trim();
  } catch {
    return "unknown";
  }
}
