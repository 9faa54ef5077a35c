import type { Id } from "#core/ids.ts";
import { exportNameOf } from "../../gateway/nbd/uri.ts";
import type { GuestLog } from "./oracle/guest-log.ts";
import type { SimDisk } from "./sim-disk.ts";
import type { SimExports } from "./sim-exports.ts";
import type { SkewedClock } from "./skewed-clock.ts";

/** VMs of a machine, as hooks and people find them. */
export interface Vms {
  readonly running: Set<string>;
  /** When they were booted first, and when a hook last stopped one, in true time. */
  bootedAt: number;
  stoppedAt: number;
}

/** What makes up a machine but its order. */
export interface MachineParts {
  readonly vpgName: string;
  /** The operation that recovered it; undefined for the disks of a configuration. */
  readonly operationId: Id | undefined;
  readonly disks: readonly SimDisk[];
  readonly log: GuestLog;
  /** Of its gateway, which says the time of its checkpoints. */
  readonly clock: SkewedClock;
  /** Undefined while its gateway is down or doesn't serve it. */
  readonly exports: () => SimExports | undefined;
}

/** Where a VPG's VMs run, or ran: its disks, what its guests know of their writes, and the way to them. */
export class Machine {
  readonly vpgName: string;
  readonly operationId: Id | undefined;
  readonly disks: readonly SimDisk[];
  readonly log: GuestLog;
  readonly clock: SkewedClock;
  /** Sectors that rotted. */
  readonly rotten: { readonly volume: number; readonly offset: number }[] = [];
  readonly vms: Vms = { running: new Set<string>(), bootedAt: 0, stoppedAt: 0 };
  /** Machines of a VPG follow each other. */
  readonly order: number;
  readonly #exports: () => SimExports | undefined;

  constructor(parts: MachineParts, order: number) {
    this.vpgName = parts.vpgName;
    this.operationId = parts.operationId;
    this.disks = parts.disks;
    this.log = parts.log;
    this.clock = parts.clock;
    this.#exports = parts.exports;
    this.order = order;
  }

  get exports(): SimExports | undefined {
    return this.#exports();
  }

  exportName({ name }: Pick<SimDisk, "name">): string {
    return exportNameOf(this.vpgName, "vm", name);
  }

  get takesWrites(): boolean {
    return this.disks.some((disk) => this.exports?.takesWrites(this.exportName(disk)) === true);
  }

  /** VMs are running, and were not stopped by a hook since. */
  get runs(): boolean {
    return this.vms.running.size > 0;
  }
}
