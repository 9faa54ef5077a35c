import type { ProcessLock } from "#adapters/embedded/process-lock.ts";
import { InvalidInput } from "#core/errors.ts";
import type { SourceVolumeConfig } from "../config.ts";
import type { AcknowledgementGate } from "../disk/acknowledgement-gate.ts";
import type { BlockDevice } from "../disk/block-device.ts";
import { TappedDevice } from "../disk/tapped-device.ts";
import type { DiskIdentity } from "../state/source-state.ts";
import type { Tap } from "../tap/tap.ts";
import { type ExportServer, type SourceHost, thisMachine } from "./source-host.ts";

/** What disks take of the machine. */
type DiskHost = Pick<SourceHost, "openDisk" | "identifyDisk" | "lockDisk">;

/** The protected disks of a VPG: opened once, tapped, and exported by name as far as they may be. */
export class SourceDisks {
  readonly #vpgName: string;
  readonly #server: ExportServer;
  readonly #volumes: readonly SourceVolumeConfig[];
  readonly #inner: readonly BlockDevice[];
  readonly #locks: readonly (ProcessLock | undefined)[];
  readonly #host: DiskHost;
  #tapped: readonly TappedDevice[] = [];
  #exported: "absent" | "read-write" | "read-only" = "absent";
  /** The change of the exports that the next one waits for. */
  #changing: Promise<void> = Promise.resolve();

  private constructor(
    vpgName: string,
    server: ExportServer,
    volumes: readonly SourceVolumeConfig[],
    inner: readonly BlockDevice[],
    locks: readonly (ProcessLock | undefined)[],
    host: DiskHost,
  ) {
    this.#vpgName = vpgName;
    this.#server = server;
    this.#volumes = volumes;
    this.#inner = inner;
    this.#locks = locks;
    this.#host = host;
  }

  /**
   * Throws what the disk throws, `InvalidInput` when two volumes are one disk, `DirectoryInUse` when another gateway serves one,
   * with all others closed again.
   */
  static async open(
    vpgName: string,
    server: ExportServer,
    volumes: readonly SourceVolumeConfig[],
    host: DiskHost = thisMachine,
  ): Promise<SourceDisks> {
    const inner: BlockDevice[] = [];
    const locks: (ProcessLock | undefined)[] = [];
    try {
      for (const volume of volumes) inner.push(host.openDisk(volume));
      await refuseAliases(volumes, host);
      for (const { path } of volumes) locks.push(host.lockDisk(path));
    } catch (error) {
      for (const lock of locks) lock?.release();
      await Promise.allSettled(inner.map((disk) => disk.close()));
      throw error;
    }
    return new SourceDisks(vpgName, server, volumes, inner, locks, host);
  }

  /** Paths of the disks that nothing keeps another gateway from serving too. */
  get unlocked(): readonly string[] {
    return this.#volumes.filter((_, index) => this.#locks[index] === undefined).map(({ path }) => path);
  }

  get sizes(): readonly number[] {
    return this.#inner.map((disk) => disk.sizeBytes);
  }

  get exported(): "absent" | "read-write" | "read-only" {
    return this.#exported;
  }

  /** The disks as guests and the sync see them, in the order of the configuration. */
  get tapped(): readonly TappedDevice[] {
    return this.#tapped;
  }

  /** Ties the disks to their tap, whose volume numbers are the places in the configuration. Once, before anything is exported. */
  tapWith(tap: Tap, onTapFault: (error: unknown) => void, gate?: AcknowledgementGate): void {
    this.#tapped = this.#inner.map((disk, index) => new TappedDevice(disk, tap, index, onTapFault, gate));
  }

  /** Names, sizes and sectors as a site is told them. */
  get offered(): { vmName: string; name: string; sizeBytes: number; sectorBytes: number }[] {
    return this.#volumes.map(({ vmName, name, sectorBytes }, index) => ({
      vmName,
      name,
      sizeBytes: this.#inner[index]?.sizeBytes ?? 0,
      sectorBytes,
    }));
  }

  /** Makes the exports what is asked for; when they go away or lose writing, their clients are dropped and their writes have ended. */
  exportAs(wanted: "absent" | "read-write" | "read-only"): Promise<void> {
    const change = (): Promise<void> => this.#exportNow(wanted);
    this.#changing = this.#changing.then(change, change);
    return this.#changing;
  }

  async #exportNow(wanted: "absent" | "read-write" | "read-only"): Promise<void> {
    if (this.#exported === wanted) return;
    if (this.#exported !== "absent") {
      await Promise.all(this.#volumes.map((volume) => this.#server.removeExport(this.#nameOf(volume))));
    }
    this.#exported = wanted;
    if (wanted === "absent") return;
    for (const [index, volume] of this.#volumes.entries()) {
      const device = this.#tapped[index];
      if (device === undefined) throw new TypeError("the disks are exported before they are tapped");
      this.#server.addExport(this.#nameOf(volume), device, { readOnly: wanted === "read-only" });
    }
  }

  async flush(): Promise<void> {
    await Promise.all(this.#tapped.map((disk) => disk.flush()));
  }

  /** As they are now; flush first. */
  identify(): Promise<DiskIdentity[]> {
    return Promise.all(
      this.#volumes.map(({ vmName, name, path }, index) =>
        this.#host.identifyDisk({ vmName, name, path, sizeBytes: this.#inner[index]?.sizeBytes ?? 0 }),
      ),
    );
  }

  async close(): Promise<void> {
    await this.exportAs("absent");
    try {
      await Promise.all(this.#inner.map((disk) => disk.close()));
    } finally {
      for (const lock of this.#locks) lock?.release();
    }
  }

  #nameOf(volume: SourceVolumeConfig): string {
    return `${this.#vpgName}/${volume.vmName}/${volume.name}`;
  }
}

/** Two names of one disk (links) would be written as two volumes, and neither's journal would have it all. */
async function refuseAliases(volumes: readonly SourceVolumeConfig[], host: DiskHost): Promise<void> {
  const seen = new Map<string, string>();
  for (const { vmName, name, path } of volumes) {
    const { identity } = await host.identifyDisk({ vmName, name, path, sizeBytes: 0 });
    const other = seen.get(identity);
    if (other !== undefined) {
      throw new InvalidInput(`${other} and ${path} are the same disk; each volume of [source] needs its own`, { path });
    }
    seen.set(identity, path);
  }
}
