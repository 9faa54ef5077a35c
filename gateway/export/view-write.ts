import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { InvalidInput } from "#core/errors.ts";
import { imageInOrder } from "#core/recovery/image-stream.ts";
import { syncFolder } from "./durable-file.ts";
import { type CheckpointVolume, viewOf } from "./view-export.ts";
import { zeroRuns } from "./zero-runs.ts";

export interface WriteViewOptions extends CheckpointVolume {
  /** A new file; one that exists is refused. */
  readonly output: string;
  /** Bytes of the volume that are done with, of its size. */
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Writes a volume at a checkpoint as a raw sparse file: whole and durable under its name, or not there at all.
 * Resolves with the bytes of data written. Throws `InvalidInput` when the file exists, and what the journal or the file system throws.
 */
export async function writeView(options: WriteViewOptions): Promise<{ readonly dataBytes: number }> {
  const { output } = options;
  if ((await stat(output).catch(() => undefined)) !== undefined) {
    throw new InvalidInput(`${output} exists; move it away or choose another name`, { output });
  }
  const temporary = `${output}.part`;
  try {
    const dataBytes = await writeSparse(temporary, options);
    await rename(temporary, output);
    await syncFolder(path.dirname(path.resolve(output)));
    return { dataBytes };
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function writeSparse(file: string, options: WriteViewOptions): Promise<number> {
  const { sizeBytes, onProgress, signal } = options;
  const handle = await open(file, "w");
  let dataBytes = 0;
  try {
    await handle.truncate(sizeBytes);
    for await (const piece of imageInOrder(viewOf(options))) {
      signal.throwIfAborted();
      for (const run of zeroRuns(piece.bytes)) {
        if (run.zero) continue;
        await writeWhole(handle, piece.bytes.subarray(run.start, run.end), piece.offset + run.start);
        dataBytes += run.end - run.start;
      }
      onProgress(piece.offset + piece.bytes.length, sizeBytes);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  onProgress(sizeBytes, sizeBytes);
  return dataBytes;
}

async function writeWhole(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
  }
}
