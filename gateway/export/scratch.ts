/**
 * Scratch in files. One folder a volume:
 *
 *   data       sparse, of the volume's size, same offsets
 *   bitmap     one bit a 4 KiB block: local or not (local-bitmap.ts)
 *   clean      there while the scratch is closed and everything outside the bitmap is a hole
 *   promoted   there once `data` alone is the disk; the bitmap is then needless
 */
import { existsSync } from "node:fs";
import { mkdir, open, rm } from "node:fs/promises";
import path from "node:path";
import { Corrupt } from "#core/errors.ts";
import type { BlockDevice } from "../disk/block-device.ts";
import { FileDevice } from "../disk/file-device.ts";
import { BitmapFile } from "./bitmap-file.ts";
import { removeFileDurable, syncFolder, writeFileDurable } from "./durable-file.ts";
import type { Image } from "./image.ts";
import { LocalBitmap } from "./local-bitmap.ts";
import { ScratchDevice } from "./scratch-device.ts";

export interface ScratchOptions {
  readonly folder: string;
  readonly image: Image;
  readonly sectorBytes: 512 | 4096;
}

/** Makes an empty scratch, durably; whatever stood in the folder is removed. Its disk reads as the image. */
export async function createScratch(options: ScratchOptions): Promise<ScratchDevice> {
  const { folder, image } = options;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await createSparse(dataFileOf(folder), image.sizeBytes);
  await createSparse(path.join(folder, "bitmap"), LocalBitmap.fileBytes(image.sizeBytes));
  await syncFolder(folder);
  await syncFolder(path.dirname(folder));
  return scratchOver(options, true);
}

/**
 * Opens a scratch that was created before, however its process ended. A promoted one is opened as the plain disk it is.
 * Throws `Corrupt` when its files are not all there.
 */
export async function openScratch(options: ScratchOptions): Promise<ScratchDevice | BlockDevice> {
  const { folder, image } = options;
  const data = dataFileOf(folder);
  if (isPromoted(folder)) {
    const device = FileDevice.open(data, { sectorBytes: options.sectorBytes });
    await checkSize(device, image.sizeBytes, folder);
    return device;
  }
  for (const file of [data, path.join(folder, "bitmap")]) {
    if (!existsSync(file)) throw new Corrupt(`${file} is missing: the recovered disk can't be opened`, { file });
  }
  // Gone durably before the first write: a crash from here on leaves blocks in the file that the bitmap doesn't know.
  const clean = existsSync(path.join(folder, "clean"));
  if (clean) await removeFileDurable(path.join(folder, "clean"));
  return scratchOver(options, clean);
}

/** The file that is the whole disk once the scratch is promoted. */
export function dataFileOf(folder: string): string {
  return path.join(folder, "data");
}

/** True when the folder's scratch is a whole local disk. */
export function isPromoted(folder: string): boolean {
  return existsSync(path.join(folder, "promoted"));
}

async function scratchOver(options: ScratchOptions, holesKnown: boolean): Promise<ScratchDevice> {
  const { folder, image } = options;
  const local = FileDevice.open(dataFileOf(folder), { sectorBytes: options.sectorBytes });
  await checkSize(local, image.sizeBytes, folder);
  return new ScratchDevice({
    local,
    bitmap: new LocalBitmap(new BitmapFile(path.join(folder, "bitmap")), image.sizeBytes),
    image,
    holesKnown,
    recordPromoted: () => writeFileDurable(path.join(folder, "promoted"), ""),
    recordClean: () => writeFileDurable(path.join(folder, "clean"), ""),
  });
}

async function checkSize(device: BlockDevice, sizeBytes: number, folder: string): Promise<void> {
  if (device.sizeBytes === sizeBytes) return;
  await device.close();
  throw new Corrupt(`the scratch in ${folder} has ${device.sizeBytes} bytes, its volume ${sizeBytes}`, { folder });
}

async function createSparse(file: string, sizeBytes: number): Promise<void> {
  const handle = await open(file, "wx");
  try {
    await handle.truncate(sizeBytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
