import type { ProcessLock } from "#adapters/embedded/process-lock.ts";
import { InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import type { SourceVolumeConfig } from "../config.ts";
import type { AcknowledgementGate } from "../disk/acknowledgement-gate.ts";
import type { BlockDevice } from "../disk/block-device.ts";
import { TappedDevice } from "../disk/tapped-device.ts";
import type { NbdAddress } from "../nbd/client.ts";
import { exportNameOf, formatNbdUri } from "../nbd/uri.ts";
import type { DiskIdentity } from "../state/source-state.ts";
import type { Tap } from "../tap/tap.ts";
import type { VolumeTrack } from "../tap/volume-track.ts";
import type { VolumeTracks } from "../tap/volume-tracks.ts";
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

interface OpenOptions {
  readonly log?: Log;
  readonly address?: NbdAddress;
}

type TapDisks = (tap: Tap, onTapFault: (error: unknown) => void, gate?: AcknowledgementGate) => TappedDevice[];

/** A disk as a site is told of it. */
interface Offered {
  readonly vmName: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly sectorBytes: number;
}

/** A volume as a configuration file names it, with the size that the definition gives it. */
export type WantedDisk = SourceVolumeConfig & { readonly sizeBytes: number };

/** What another set of volumes opens and lets go of; nothing of it is done yet. */
export interface DiskChange {
  readonly opened: readonly {
    readonly disk: SourceDisk;
    /** The same volume before it grew; it is among the dropped. */
    readonly replaces: SourceDisk | undefined;
  }[];
  readonly dropped: readonly SourceDisk[];
}

/** For disks that come and go while the gateway runs. */
interface OtherDisks {
  readonly open: (volume: SourceVolumeConfig) => BlockDevice;
  /** From then on it is released with the others. */
  readonly keep: (disk: SourceDisk) => void;
  readonly letGo: (disk: SourceDisk) => Promise<void>;
}

interface DiskParts {
  readonly vpgName: string;
  /** The operation whose commit made them; undefined for those of the configuration. */
  readonly promotedBy?: Id;
  readonly server: ExportServer;
  /** Where it listens, if that is known. */
  readonly address?: NbdAddress;
  readonly identifyDisk: SourceHost["identifyDisk"];
  readonly disks: readonly SourceDisk[];
  readonly tapWith: TapDisks;
  readonly exported: ExportMode;
  /** Absent when the disks are given for good. */
  readonly others?: OtherDisks;
  /** Lets the disks go; they are exported no more. */
  readonly release: () => Promise<void>;
}

/** The disks of a VPG, or this gateway's part of them: tapped, and exported by name as far as they may be. */
export class SourceDisks {
  readonly vpgName: string;
  readonly #parts: DiskParts;
  readonly #server: ExportServer;
  /** With the index of each one's track, ascending. */
  #disks: readonly (readonly [number, SourceDisk])[];
  #tapped: TappedDevice[] = [];
  #tapping: Parameters<TapDisks> | undefined;
  #exported: ExportMode;
  /** The change of the exports that the next one waits for. */
  #changing: Promise<void> = Promise.resolve();

  constructor(parts: DiskParts) {
    this.vpgName = parts.vpgName;
    this.#parts = parts;
    this.#server = parts.server;
    this.#disks = [...parts.disks.entries()];
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
    { openDisk, identifyDisk, lockDisk, log, address }: DiskHost & OpenOptions = thisMachine,
  ): Promise<SourceDisks> {
    const disks: SourceDisk[] = [];
    const locks = new Map<string, ProcessLock | undefined>();
    const release = async (): Promise<void> => {
      try {
        await server.close();
        await Promise.all(disks.map(({ device }) => device.close()));
      } finally {
        for (const lock of locks.values()) lock?.release();
      }
    };
    /** A path that is locked already, by the same volume at its old size, stays so. */
    const lock = (paths: readonly string[]): void => {
      const fresh = paths.filter((path) => !locks.has(path));
      for (const path of fresh) locks.set(path, lockDisk(path));
      const unlocked = fresh.filter((path) => locks.get(path) === undefined);
      if (unlocked.length > 0) log?.warn("source.disks-not-locked", { paths: unlocked });
    };
    try {
      for (const volume of volumes) disks.push({ ...volume, device: openDisk(volume) });
      await refuseAliases(volumes, identifyDisk);
      lock(volumes.map(({ path }) => path));
    } catch (error) {
      await release().catch(() => undefined);
      throw error;
    }
    const tapWith: TapDisks = (tap, onTapFault, gate) =>
      disks.map(({ device }, index) => new TappedDevice(device, tap, index, onTapFault, gate));
    const letGo = async (disk: SourceDisk): Promise<void> => {
      disks.splice(disks.indexOf(disk), 1);
      await disk.device.close();
      if (disks.some(({ path }) => path === disk.path)) return;
      locks.get(disk.path)?.release();
      locks.delete(disk.path);
    };
    const others: OtherDisks = {
      open: (volume) => {
        lock([volume.path]);
        return openDisk(volume);
      },
      keep: (disk) => disks.push(disk),
      letGo,
    };
    return new SourceDisks({
      vpgName,
      server,
      ...(address === undefined ? {} : { address }),
      identifyDisk,
      disks: [...disks],
      tapWith,
      exported: "absent",
      others,
      release,
    });
  }

  /** The operation whose commit made them; undefined for those of the configuration. */
  get promotedBy(): Id | undefined {
    return this.#parts.promotedBy;
  }

  get sizes(): readonly number[] {
    return this.#each(({ device }) => device.sizeBytes);
  }

  get paths(): readonly string[] {
    return this.#each(({ path }) => path);
  }

  /** Of a VM: its volumes by name, and where each is exported; empty where that is not known. */
  urisOf(vm: string): ReadonlyMap<string, string> {
    const { address } = this.#parts;
    if (address === undefined) return new Map();
    const own = this.#disks.filter(([, { vmName }]) => vmName === vm);
    return new Map(own.map(([, disk]) => [disk.name, formatNbdUri(address, this.#nameOf(disk))]));
  }

  get vmNames(): readonly string[] {
    return [...new Set(this.#each(({ vmName }) => vmName))];
  }

  #each<Result>(of: (disk: SourceDisk) => Result): Result[] {
    return this.#disks.map(([, disk]) => of(disk));
  }

  get exported(): ExportMode {
    return this.#exported;
  }

  /**
   * The disk of a volume as guests and the sync see it. Throws `InvalidInput` saying what is there instead, when none has that name,
   * size and sectors.
   */
  diskOf({ vmName, name, sizeBytes, sectorBytes }: Offered): TappedDevice {
    const found = this.#disks.find(([, disk]) => disk.vmName === vmName && disk.name === name);
    const device = found && this.#tapped[found[0]];
    if (device === undefined) throw new InvalidInput(`this gateway has no volume ${vmName}/${name}`);
    if (device.sizeBytes === sizeBytes && device.sectorBytes === sectorBytes) return device;
    const text = (each: Pick<Offered, "sizeBytes" | "sectorBytes">): string =>
      `${each.sizeBytes} bytes in sectors of ${each.sectorBytes}`;
    throw new InvalidInput(
      `${found?.[1].path} of ${vmName}/${name} has ${text(device)} at this gateway, and the volume has ${text({ sizeBytes, sectorBytes })}`,
    );
  }

  /** As guests and the sync see them, by the index of the track and not by the place in `offered`: dropped ones stay, closed. */
  get tapped(): readonly TappedDevice[] {
    return this.#tapped;
  }

  /** Ties the disks to their tap, whose volume numbers are the disks' places. Once, before anything is exported by this class. */
  tapWith(tap: Tap, onTapFault: (error: unknown) => void, gate?: AcknowledgementGate): void {
    this.#tapping = gate === undefined ? [tap, onTapFault] : [tap, onTapFault, gate];
    this.#tapped = this.#parts.tapWith(tap, onTapFault, gate);
  }

  /**
   * Opens what these volumes need beside the disks there are, while all goes on. Throws `InvalidInput` naming what doesn't fit, with
   * what to do about it; `DirectoryInUse`.
   */
  async prepare(wanted: readonly WantedDisk[]): Promise<DiskChange> {
    const { others, identifyDisk } = this.#parts;
    if (others === undefined)
      throw new InvalidInput(`the volumes of ${this.vpgName} can't be changed while it runs on recovered disks`);
    await refuseAliases(wanted, identifyDisk);
    const dropped = new Set(this.#each((disk) => disk));
    const opened: { disk: SourceDisk; replaces: SourceDisk | undefined }[] = [];
    try {
      for (const volume of wanted) {
        const same = this.#each((disk) => disk).find(
          ({ vmName, name, path }) => vmName === volume.vmName && name === volume.name && path === volume.path,
        );
        if (same?.device.sizeBytes === volume.sizeBytes && same.device.sectorBytes === volume.sectorBytes) {
          dropped.delete(same);
          continue;
        }
        const disk = { ...volume, device: others.open(volume) };
        others.keep(disk);
        opened.push({ disk, replaces: same });
        assertSize(volume, disk.device.sizeBytes);
      }
    } catch (error) {
      await this.abandon({ opened, dropped: [] });
      throw error;
    }
    return { opened, dropped: [...dropped] };
  }

  /** Closes what was opened for a change that is not made. */
  async abandon({ opened }: DiskChange): Promise<void> {
    for (const { disk } of opened) await this.#parts.others?.letGo(disk);
  }

  /** Between two sessions: clients of what goes away are dropped and their writes have ended; what comes is exported as the others are. */
  change(change: DiskChange, tracks: VolumeTracks): Promise<void> {
    return this.#inTurn(() => this.#changeNow(change, tracks));
  }

  async #changeNow({ opened, dropped }: DiskChange, tracks: VolumeTracks): Promise<void> {
    const mode = this.#exported;
    if (mode !== "absent") for (const disk of dropped) await this.#server.removeExport(this.#nameOf(disk));
    const trackOf = (disk: SourceDisk | undefined): VolumeTrack | undefined => {
      const index = this.#disks.find(([, each]) => each === disk)?.[0];
      return index === undefined ? undefined : tracks.at(index);
    };
    const [tap, onTapFault, gate] = this.#tapping ?? [];
    if (tap === undefined || onTapFault === undefined) throw new TypeError("disks change before they are tapped");
    const added: (readonly [number, SourceDisk])[] = [];
    for (const { disk, replaces } of opened) {
      const { sizeBytes } = disk.device;
      const before = trackOf(replaces);
      const track = before === undefined ? tracks.add(sizeBytes) : tracks.addGrown(before, sizeBytes);
      const device = new TappedDevice(disk.device, tap, track.index, onTapFault, gate);
      this.#tapped[track.index] = device;
      added.push([track.index, disk]);
    }
    for (const disk of dropped) {
      const track = trackOf(disk);
      if (track !== undefined) tracks.drop(track);
    }
    this.#disks = [...this.#disks.filter(([, disk]) => !dropped.includes(disk)), ...added];
    if (mode !== "absent") for (const [index, disk] of added) this.#addExport(index, disk, mode);
    for (const disk of dropped) await this.#parts.others?.letGo(disk);
  }

  /** Names, sizes and sectors as a site is told them. */
  get offered(): Offered[] {
    return this.#each(({ vmName, name, device: { sizeBytes, sectorBytes } }) => ({
      vmName,
      name,
      sizeBytes,
      sectorBytes,
    }));
  }

  /** The journal's numbers of the volumes, in the order of the disks. Throws `InvalidInput` when one is missing. */
  numbersOf(volumes: readonly { readonly vmName: string; readonly name: string; readonly volume: number }[]): number[] {
    return this.#each(({ vmName, name }) => {
      const found = volumes.find((volume) => volume.vmName === vmName && volume.name === name);
      if (found === undefined) throw new InvalidInput(`the site's answer lacks the volume ${vmName}/${name}`);
      return found.volume;
    });
  }

  /** Makes the exports what is asked for; when they go away or lose writing, their clients are dropped and their writes have ended. */
  exportAs(wanted: ExportMode): Promise<void> {
    return this.#inTurn(() => this.#exportNow(wanted));
  }

  #inTurn(change: () => Promise<void>): Promise<void> {
    this.#changing = this.#changing.then(change, change);
    return this.#changing;
  }

  async #exportNow(wanted: ExportMode): Promise<void> {
    if (this.#exported === wanted) return;
    if (this.#exported !== "absent") {
      await Promise.all(this.#each((disk) => this.#server.removeExport(this.#nameOf(disk))));
    }
    this.#exported = wanted;
    if (wanted === "absent") return;
    for (const [index, disk] of this.#disks) this.#addExport(index, disk, wanted);
  }

  #addExport(index: number, disk: SourceDisk, mode: ExportMode): void {
    const device = this.#tapped[index];
    if (device === undefined) throw new TypeError("the disks are exported before they are tapped");
    this.#server.addExport(this.#nameOf(disk), device, { readOnly: mode === "read-only" });
  }

  async flush(): Promise<void> {
    await Promise.all(this.#disks.map(([index]) => this.#tapped[index]?.flush()));
  }

  /** As they are now; flush first. */
  identify(): Promise<DiskIdentity[]> {
    return Promise.all(
      this.#each(({ vmName, name, path, device: { sizeBytes } }) =>
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

function assertSize({ vmName, name, path, sizeBytes }: WantedDisk, found: number): void {
  if (found === sizeBytes) return;
  const cure =
    found < sizeBytes ? "grow it (a file: truncate -s BYTES PATH)" : "edit the VPG to its size; a volume is never cut";
  throw new InvalidInput(
    `${path} of ${vmName}/${name} has ${found} bytes and the definition says ${sizeBytes}: ${cure}`,
  );
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
