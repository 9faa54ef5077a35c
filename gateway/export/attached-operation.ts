import path from "node:path";
import type { ProcessLock } from "#adapters/embedded/process-lock.ts";
import type { Id } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import type { JournalSource } from "#core/recovery/journal-source.ts";
import { View } from "#core/recovery/view.ts";
import type { BlockDevice } from "../disk/block-device.ts";
import { lockDisk } from "../disk/disk-lock.ts";
import { TappedDevice } from "../disk/tapped-device.ts";
import { NbdServer } from "../nbd/server.ts";
import { exportNameOf, formatNbdUri } from "../nbd/uri.ts";
import { type ExportMode, type SourceDisk, SourceDisks } from "../source/source-disks.ts";
import { identifyDisk } from "../state/disk-identity.ts";
import { RelayTap } from "../tap/relay-tap.ts";
import { hydrate } from "./hydrate.ts";
import { type Image, imageOf } from "./image.ts";
import { viewIndexBytesMin, viewIndexBytesTotal } from "./limits.ts";
import type { AttachBody, OperationFolder } from "./operation-folder.ts";
import { createScratch, dataFileOf, openScratch } from "./scratch.ts";
import { ScratchDevice } from "./scratch-device.ts";

export interface AttachedOptions {
  readonly folder: OperationFolder;
  readonly body: AttachBody;
  readonly socketPath: string;
  readonly source: JournalSource;
  readonly log: Log;
  /** Opens the disks without exporting them: that is for their capture to do. */
  readonly captured?: boolean;
}

interface AttachedVolume {
  readonly image: Image;
  readonly device: ScratchDevice | BlockDevice;
  /** There in a live operation, whose volumes may become protected disks. */
  readonly tapped: TappedDevice | undefined;
  readonly uri: string;
}

/**
 * The recovered volumes of one operation, open and exported on one Unix socket under `<vpg>/<vm>/<volume>`. Those of a live one are
 * tapped from the first, by a tap that keeps nothing: promoted, they can be captured without a guest noticing.
 */
export class AttachedOperation {
  readonly operationId: Id;
  readonly body: AttachBody;
  readonly #folder: OperationFolder;
  readonly #server: NbdServer;
  readonly #volumes = new Map<number, AttachedVolume>();
  readonly #locks: ProcessLock[] = [];
  readonly #tap = new RelayTap();
  readonly #log: Log;
  readonly #socketPath: string;
  #exported: ExportMode;

  private constructor(options: AttachedOptions) {
    this.operationId = options.body.operationId;
    this.body = options.body;
    this.#log = options.log;
    this.#socketPath = options.socketPath;
    this.#exported = options.captured === true ? "absent" : "read-write";
    this.#folder = options.folder;
    this.#server = new NbdServer({ log: options.log });
  }

  /**
   * Opens the scratches, which are made anew unless all of them exist (attached.json), and serves them. Those of a live operation are
   * this process's alone, as the disks of a configuration are: they may become a VPG's. Closes what it opened when it throws.
   */
  static async open(options: AttachedOptions): Promise<AttachedOperation> {
    const attached = new AttachedOperation(options);
    try {
      await attached.#openVolumes(options);
      await attached.#server.listenUnix(options.socketPath);
    } catch (error) {
      await attached.close();
      throw error;
    }
    return attached;
  }

  /** Volume number → NBD URI. */
  exports(): Record<string, string> {
    return Object.fromEntries([...this.#volumes].map(([volume, { uri }]) => [String(volume), uri]));
  }

  /** Hydrates every volume. Resolves with the bytes copied; volumes that are local already cost nothing. */
  async promote(signal: AbortSignal, onProgress: (doneBytes: number, totalBytes: number) => void): Promise<number> {
    const totalBytes = this.body.volumes.reduce((sum, volume) => sum + volume.sizeBytes, 0);
    let doneBefore = 0;
    let copied = 0;
    for (const { device, image } of this.#volumes.values()) {
      if (device instanceof ScratchDevice) {
        const report = (done: number): void => onProgress(doneBefore + done, totalBytes);
        copied += await hydrate(device, image, { signal, onProgress: report });
      }
      doneBefore += device.sizeBytes;
      onProgress(doneBefore, totalBytes);
    }
    return copied;
  }

  /** The disks, for one capture that takes them as they are: exported, unless they were opened as captured before. */
  capture(): SourceDisks {
    const disks: SourceDisk[] = [];
    const tapped: TappedDevice[] = [];
    for (const { volume, vmName, name } of this.body.volumes) {
      const known = this.#volumes.get(volume);
      if (known?.tapped === undefined) throw new TypeError("only volumes of a live operation are captured");
      disks.push({ vmName, name, path: dataFileOf(this.#folder.volumeFolder(volume)), device: known.device });
      tapped.push(known.tapped);
    }
    const exported = this.#exported;
    // From here on the capture says what is exported.
    this.#exported = "absent";
    return new SourceDisks({
      vpgName: this.body.vpgName,
      promotedBy: this.operationId,
      server: this.#server,
      address: { socketPath: this.#socketPath },
      identifyDisk,
      disks,
      // One gateway alone captures recovered disks: no barrier holds their acknowledgements.
      tapWith: (tap) => {
        this.#tap.passTo(tap);
        return tapped;
      },
      exported,
      release: () => {
        this.#tap.passTo(undefined);
        return Promise.resolve();
      },
    });
  }

  /** Drops the clients, makes everything durable, closes the files. */
  async close(): Promise<void> {
    await this.#server.close();
    const closed = await Promise.allSettled([...this.#volumes.values()].map(({ device }) => device.close()));
    for (const lock of this.#locks.splice(0)) lock.release();
    for (const result of closed) if (result.status === "rejected") throw result.reason;
  }

  async #openVolumes({ body, source, socketPath }: AttachedOptions): Promise<void> {
    const reader = new JournalReader(source);
    const exist = await this.#folder.isAttached();
    const open = exist ? openScratch : createScratch;
    const pageCacheBytes = Math.max(viewIndexBytesMin, viewIndexBytesTotal / body.volumes.length);
    for (const [index, entry] of body.volumes.entries()) {
      const { volume, vmName, name, sizeBytes, sectorBytes, upTo = body.upTo } = entry;
      const image = imageOf(new View({ reader, volume, sizeBytes, upTo, pageCacheBytes }));
      const folder = this.#folder.volumeFolder(volume);
      const device = await open({ folder, image, sectorBytes });
      const exportName = exportNameOf(body.vpgName, vmName, name);
      const onTapFault = (error: unknown): void => this.#log.error("tap.fault", { error });
      const tapped = body.mode === "live" ? new TappedDevice(device, this.#tap, index, onTapFault) : undefined;
      this.#volumes.set(volume, { image, device, tapped, uri: formatNbdUri({ socketPath }, exportName) });
      if (body.mode === "live") this.#lock(dataFileOf(folder));
      if (this.#exported === "absent") continue;
      this.#server.addExport(exportName, tapped ?? device, { description: `${body.vpgName} at ${body.checkpointId}` });
    }
    if (!exist) await this.#folder.recordAttached();
  }

  #lock(file: string): void {
    const lock = lockDisk(file);
    if (lock !== undefined) this.#locks.push(lock);
    else this.#log.warn("recovery.disk-not-locked", { path: file });
  }
}

/**
 * Where an operation's exports are served. Paths of sockets have at most about 100 bytes, so the name is short: the last ten characters
 * of the operation's id, 50 bits of chance.
 */
export function socketPathOf(directory: string, operationId: Id): string {
  return path.join(directory, "s", `${operationId.slice(-10)}.sock`);
}
