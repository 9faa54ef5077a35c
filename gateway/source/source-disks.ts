import type { ProcessLock } from "#adapters/embedded/process-lock.ts";
import { InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import type { SourceVolumeConfig } from "../config.ts";
import type { AcknowledgementGate } from "../disk/acknowledgement-gate.ts";
import type { BlockDevice } from "../disk/block-device.ts";
import { TappedDevice } from "../disk/tapped-device.ts";
import { exportNameOf } from "../nbd/uri.ts";
import type { DiskIdentity } from "../state/source-state.ts";
import type { Tap } from "../tap/tap.ts";
import { type ExportServer, type SourceHost, thisMachine } from "./source-host.ts";

/** What disks take of the machine. */
type DiskHost = Pick<SourceHost, "openDisk" | "identifyDisk" | "lockDisk">;

export type ExportMode = "absent" | "read-write" | "read-only";

/** One disk and where it stands. */
export interface SourceDisk {
  readonly vmName: string;
  readonly name: string;
  /** Of the file or block device whose identity tells whether it was written behind our back. */
  readonly path: string;
  readonly device: BlockDevice;
}

type TapDisks = (tap: Tap, onTapFault: (error: unknown) => void, gate?: AcknowledgementGate) => readonly TappedDevice[];

interface DiskParts {
  readonly vpgName: string;
  /** The operation whose commit made them; undefined for those of the configuration. */
  readonly promotedBy?: Id;
  readonly server: ExportServer;
  readonly identifyDisk: SourceHost["identifyDisk"];
  readonly disks: readonly SourceDisk[];
  readonly tapWith: TapDisks;
  readonly exported: ExportMode;
  /** Lets the disks go; they are exported no more. */
  readonly release: () => Promise<void>;
}

/** The disks of a VPG, or this gateway's part of them: tapped, and exported by name as far as they may be. */
export class SourceDisks {
  readonly vpgName: string;
  readonly #parts: DiskParts;
  readonly #server: ExportServer;
  readonly #disks: readonly SourceDisk[];
  #tapped: readonly TappedDevice[] = [];
  #exported: ExportMode;
  /** The change of the exports that the next one waits for. */
  #changing: Promise<void> = Promise.resolve();

  constructor(parts: DiskParts) {
    this.vpgName = parts.vpgName;
    this.#parts = parts;
    this.#server = parts.server;
    this.#disks = parts.disks;
    this.#exported = parts.exported;
  }

  /**
   * Opens what a configuration names; nothing is exported yet. `release` closes the server too. Throws what the disk throws, `InvalidInput`
   * when two volumes are one disk, `DirectoryInUse` when another gateway serves one, with all others closed again.
   */
  static async open(
    vpgName: string,
    server: ExportServer,
    volumes: readonly SourceVolumeConfig[],
    { openDisk, identifyDisk, lockDisk, log }: DiskHost & { readonly log?: Log } = thisMachine,
  ): Promise<SourceDisks> {
    const disks: SourceDisk[] = [];
    const locks: (ProcessLock | undefined)[] = [];
    const release = async (): Promise<void> => {
      try {
        await server.close();
        await Promise.all(disks.map(({ device }) => device.close()));
      } finally {
        for (const lock of locks) lock?.release();
      }
    };
    try {
      for (const volume of volumes) disks.push({ ...volume, device: openDisk(volume) });
      await refuseAliases(volumes, identifyDisk);
      for (const { path } of volumes) locks.push(lockDisk(path));
    } catch (error) {
      await release().catch(() => undefined);
      throw error;
    }
    const unlocked = volumes.filter((_, index) => locks[index] === undefined).map(({ path }) => path);
    if (unlocked.length > 0) log?.warn("source.disks-not-locked", { paths: unlocked });
    const tapWith: TapDisks = (tap, onTapFault, gate) =>
      disks.map(({ device }, index) => new TappedDevice(device, tap, index, onTapFault, gate));
    return new SourceDisks({ vpgName, server, identifyDisk, disks, tapWith, exported: "absent", release });
  }

  /** The operation whose commit made them; undefined for those of the configuration. */
  get promotedBy(): Id | undefined {
    return this.#parts.promotedBy;
  }

  get sizes(): readonly number[] {
    return this.#disks.map(({ device }) => device.sizeBytes);
  }

  get vmNames(): readonly string[] {
    return [...new Set(this.#disks.map(({ vmName }) => vmName))];
  }

  get exported(): ExportMode {
    return this.#exported;
  }

  /** The disks as guests and the sync see them, in their order. */
  get tapped(): readonly TappedDevice[] {
    return this.#tapped;
  }

  /** Ties the disks to their tap, whose volume numbers are the disks' places. Once, before anything is exported by this class. */
  tapWith(tap: Tap, onTapFault: (error: unknown) => void, gate?: AcknowledgementGate): void {
    this.#tapped = this.#parts.tapWith(tap, onTapFault, gate);
  }

  /** Names, sizes and sectors as a site is told them. */
  get offered(): { vmName: string; name: string; sizeBytes: number; sectorBytes: number }[] {
    return this.#disks.map(({ vmName, name, device: { sizeBytes, sectorBytes } }) => ({
      vmName,
      name,
      sizeBytes,
      sectorBytes,
    }));
  }

  /** Makes the exports what is asked for; when they go away or lose writing, their clients are dropped and their writes have ended. */
  exportAs(wanted: ExportMode): Promise<void> {
    const change = (): Promise<void> => this.#exportNow(wanted);
    this.#changing = this.#changing.then(change, change);
    return this.#changing;
  }

  async #exportNow(wanted: ExportMode): Promise<void> {
    if (this.#exported === wanted) return;
    if (this.#exported !== "absent") {
      await Promise.all(this.#disks.map((disk) => this.#server.removeExport(this.#nameOf(disk))));
    }
    this.#exported = wanted;
    if (wanted === "absent") return;
    for (const [index, disk] of this.#disks.entries()) {
      const device = this.#tapped[index];
      if (device === undefined) throw new TypeError("the disks are exported before they are tapped");
      this.#server.addExport(this.#nameOf(disk), device, { readOnly: wanted === "read-only" });
    }
  }

  async flush(): Promise<void> {
    await Promise.all(this.#tapped.map((disk) => disk.flush()));
  }

  /** As they are now; flush first. */
  identify(): Promise<DiskIdentity[]> {
    return Promise.all(
      this.#disks.map(({ vmName, name, path, device: { sizeBytes } }) =>
        this.#parts.identifyDisk({ vmName, name, path, sizeBytes }),
      ),
    );
  }

  async close(): Promise<void> {
    await this.exportAs("absent");
    await this.#parts.release();
  }

  #nameOf({ vmName, name }: SourceDisk): string {
    return exportNameOf(this.vpgName, vmName, name);
  }
}

/** Two names of one disk (links) would be written as two volumes, and neither's journal would have it all. */
async function refuseAliases(
  volumes: readonly SourceVolumeConfig[],
  identifyDisk: SourceHost["identifyDisk"],
): Promise<void> {
  const seen = new Map<string, string>();
  for (const { vmName, name, path } of volumes) {
    const { identity } = await identifyDisk({ vmName, name, path, sizeBytes: 0 });
    const other = seen.get(identity);
    if (other !== undefined) {
      throw new InvalidInput(`${other} and ${path} are the same disk; each volume of [source] needs its own`, { path });
    }
    seen.set(identity, path);
  }
}
