import { execFileSync, type StdioOptions } from "node:child_process";
import { cpus, release, totalmem, type } from "node:os";
import { formatBytes } from "#core/units.ts";

/** Where and when figures were taken; without it they mean nothing. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly date: string;
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
    revision: revision(root),
  };
}

export function machineLines(machine: Machine): string[] {
  return [
    `${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)} of memory, ${machine.kernel}, Node ${machine.node}`,
    `${machine.date}, revision ${machine.revision}`,
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
