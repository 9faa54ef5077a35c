/**
 * What recovered VMs wrote before a rollback or a retarget: scratches that the recovery half detached and keeps for a while
 * (operation-folder.ts), listed and exported by whoever is at the gateway's machine. The gateway may run meanwhile.
 */
import { stat } from "node:fs/promises";
import { NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import type { Log } from "#core/ports.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import type { JournalSource } from "#core/recovery/journal-source.ts";
import { View } from "#core/recovery/view.ts";
import { NbdServer } from "../nbd/server.ts";
import { exportNameOf, formatNbdUri } from "../nbd/uri.ts";
import { imageOf } from "./image.ts";
import { type KeptFolder, keptFoldersIn } from "./operation-folder.ts";
import { dataFileOf, openScratch } from "./scratch.ts";
import type { ViewExport } from "./view-export.ts";

export interface KeptScratch {
  readonly operationId: Id;
  /** Of the operation's detached scratches, from 1. */
  readonly number: number;
  readonly vpgId: Id;
  readonly vpgName: string;
  readonly checkpointId: string;
  /** ms since the epoch. */
  readonly keptUntil: number;
  readonly volumes: readonly {
    /** `VM/VOLUME`. */
    readonly name: string;
    readonly volume: number;
    readonly sizeBytes: number;
    /** On this machine's disk: what the recovered VMs wrote, in whole blocks. */
    readonly writtenBytes: number;
  }[];
}

/** Those in the recovery directory, in the order of their operations. */
export async function keptScratches(directory: string): Promise<readonly KeptScratch[]> {
  return Promise.all((await keptFoldersIn(directory)).map(described));
}

async function described(kept: KeptFolder): Promise<KeptScratch> {
  const { operationId, number, keptUntil, body } = kept;
  const volumes = body.volumes.map(async ({ volume, vmName, name, sizeBytes }) => {
    const { blocks } = await stat(dataFileOf(kept.volumeFolder(volume)));
    // POSIX counts blocks of 512 bytes.
    return { name: `${vmName}/${name}`, volume, sizeBytes, writtenBytes: blocks * 512 };
  });
  const { vpgId, vpgName, checkpointId } = body;
  return { operationId, number, vpgId, vpgName, checkpointId, keptUntil, volumes: await Promise.all(volumes) };
}

export interface KeptExportOptions {
  readonly directory: string;
  readonly operationId: string;
  /** The last one detached when it isn't given. */
  readonly number?: number | undefined;
  /** `VM/VOLUME`. */
  readonly volume: string;
  readonly socketPath: string;
  /** Opens the journal that the checkpoint is in, for views up to a position of it. */
  readonly journal: (vpgId: Id, upTo: Position, checkpointId: string) => JournalSource | Promise<JournalSource>;
  readonly log: Log;
}

/**
 * Exports a kept scratch over its checkpoint, read-only: the disk as its VM left it. Throws `NotFound` naming what there is,
 * `DirectoryInUse` when it is exported already.
 */
export async function exportKept(options: KeptExportOptions): Promise<ViewExport & { readonly scratch: KeptScratch }> {
  const folders = await keptFoldersIn(options.directory);
  const kept = folders.findLast(
    ({ operationId, number }) => operationId === options.operationId && number === (options.number ?? number),
  );
  if (kept === undefined) throw none(options.operationId, folders);
  const scratch = await described(kept);
  const entry = kept.body.volumes.find(({ vmName, name }) => `${vmName}/${name}` === options.volume);
  if (entry === undefined) {
    const there = scratch.volumes.map(({ name }) => name).join(", ");
    throw new NotFound(`operation ${kept.operationId} kept no volume ${options.volume}; it kept ${there}`);
  }
  const { vpgId, vpgName, checkpointId } = kept.body;
  const { volume, sizeBytes, sectorBytes, upTo = kept.body.upTo } = entry;
  const reader = new JournalReader(await options.journal(vpgId, upTo, checkpointId));
  const image = imageOf(new View({ reader, volume, sizeBytes, upTo }));
  const device = await openScratch({ folder: kept.volumeFolder(volume), image, sectorBytes });
  const server = new NbdServer({ log: options.log });
  const exportName = exportNameOf(vpgName, entry.vmName, entry.name);
  server.addExport(exportName, device, { readOnly: true, description: `left at ${checkpointId}` });
  const { socketPath } = options;
  const close = async (): Promise<void> => {
    await server.close();
    await device.close();
  };
  await server.listenUnix(socketPath).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return { scratch, uri: formatNbdUri({ socketPath }, exportName), close };
}

function none(operationId: string, folders: readonly KeptFolder[]): NotFound {
  const there = folders.map((folder) => `${folder.operationId} (${folder.number})`).join(", ");
  return new NotFound(
    `no scratch of operation ${operationId} is kept here; ${there === "" ? "none is" : `there are ${there}`}`,
  );
}
