import { open, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { InvalidInput } from "#core/errors.ts";
import { storedFrames } from "#core/recovery/image-stream.ts";
import { syncFolder } from "./durable-file.ts";
import { FrameWriter } from "./frame-writer.ts";
import { type CheckpointVolume, viewOf } from "./view-export.ts";
import { WriteBack } from "./write-back.ts";

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
  const writer = new FrameWriter(handle.fd);
  const writeBack = new WriteBack(handle);
  try {
    await handle.truncate(sizeBytes);
    for await (const frame of storedFrames(viewOf(options))) {
      signal.throwIfAborted();
      await writer.write(frame);
      onProgress(frame.reached, sizeBytes);
      writeBack.written(writer.dataBytes);
    }
    await writer.finish();
    await writeBack.end();
    await handle.sync();
  } finally {
    await writer.close();
    await writeBack.end().catch(() => undefined);
    await handle.close();
  }
  onProgress(sizeBytes, sizeBytes);
  return writer.dataBytes;
}
