import type { Position } from "#core/journal/position.ts";
import type { Log } from "#core/ports.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import type { JournalSource } from "#core/recovery/journal-source.ts";
import { View } from "#core/recovery/view.ts";
import { NbdServer } from "../nbd/server.ts";
import { formatNbdUri } from "../nbd/uri.ts";
import { ViewDevice } from "./view-device.ts";

/** A volume at a checkpoint, wherever its journal is read from: a site over HTTP, or a data directory without one. */
export interface CheckpointVolume {
  readonly source: JournalSource;
  readonly volume: number;
  /** At that position. */
  readonly sizeBytes: number;
  readonly sectorBytes: 512 | 4096;
  readonly upTo: Position;
}

export interface ViewExport {
  /** What nbdinfo, nbdcopy, qemu-img and qemu-nbd take. */
  readonly uri: string;
  /** Drops the clients and removes the socket. */
  close(): Promise<void>;
}

/** Exports a volume at a checkpoint read-only on a Unix socket, at once: data is read as it is asked for. Throws `InvalidInput` for the socket's path. */
export async function exportView(
  options: CheckpointVolume & { readonly exportName: string; readonly socketPath: string; readonly log: Log },
): Promise<ViewExport> {
  const { exportName, socketPath } = options;
  const server = new NbdServer({ log: options.log });
  server.addExport(exportName, new ViewDevice(viewOf(options), options.sectorBytes), { readOnly: true });
  await server.listenUnix(socketPath);
  return { uri: formatNbdUri({ socketPath }, exportName), close: () => server.close() };
}

/** A view with caches of its own. */
export function viewOf({ source, volume, sizeBytes, upTo }: CheckpointVolume): View {
  return new View({ reader: new JournalReader(source), volume, sizeBytes, upTo });
}
