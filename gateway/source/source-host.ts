import type { ProcessLock } from "#adapters/embedded/process-lock.ts";
import type { Log } from "#core/ports.ts";
import type { SourceVolumeConfig } from "../config.ts";
import { runHook } from "../control/hooks.ts";
import type { SiteAddress } from "../control/site-client.ts";
import type { BlockDevice } from "../disk/block-device.ts";
import { lockDisk } from "../disk/disk-lock.ts";
import { FileDevice } from "../disk/file-device.ts";
import { NbdServer } from "../nbd/server.ts";
import type { SessionPlace } from "../ship/press.ts";
import { Shipper, type ShipperEvents } from "../ship/shipper.ts";
import { identifyDisk } from "../state/disk-identity.ts";
import { HashPool } from "../sync/hash-pool.ts";
import type { ChunkHasher } from "../sync/volume-sync.ts";
import type { SegmentSink } from "../tap/session-types.ts";

/** Opens the backing of one volume; a test puts a faulty one in its place. */
export type OpenDisk = (volume: SourceVolumeConfig) => BlockDevice;

/** What serves disks to guests. */
export type ExportServer = Pick<NbdServer, "listenUnix" | "listenTcp" | "addExport" | "removeExport" | "close">;

/** Brings a session's segments to the site. */
export interface SegmentShipper extends SegmentSink {
  /** No faster than this from now on, bytes a second; undefined for no limit. */
  setRate(bytesPerSecond: number | undefined): void;
  /** Nothing is told any more, and what isn't acknowledged is given up. */
  stop(): Promise<void>;
}

/** What a capture half has of the machine it runs on: files, sockets, threads, other programs. A simulation has its own. */
export interface SourceHost {
  readonly openDisk: OpenDisk;
  readonly identifyDisk: typeof identifyDisk;
  /** As `lockDisk`. */
  readonly lockDisk: (path: string) => ProcessLock | undefined;
  readonly openServer: (log: Log) => ExportServer;
  readonly openShipper: (site: SiteAddress, place: SessionPlace, events: ShipperEvents) => SegmentShipper;
  readonly openHasher: () => ChunkHasher;
  readonly runHook: typeof runHook;
}

export const thisMachine: SourceHost = {
  openDisk: (volume) => FileDevice.open(volume.path, { sectorBytes: volume.sectorBytes }),
  identifyDisk,
  lockDisk: (path) => lockDisk(path),
  openServer: (log) => new NbdServer({ log }),
  openShipper: (site, place, events) => new Shipper(site, place, events),
  openHasher: () => new HashPool(),
  runHook,
};
