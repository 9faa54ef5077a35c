import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { NotFound, Transient } from "#core/errors.ts";
import { cutRange } from "#core/object-key.ts";
import type { ByteRange } from "#core/ports.ts";
import { errorCode } from "./file-errors.ts";
import { readNowBytesMax } from "./limits.ts";

/**
 * The bytes of the object's file, or a range cut to its end. A small range is read synchronously: four hops to the pool and back cost
 * more than the four calls, and a view reads the headers of a thousand batches. The table waits for the disk in the same way at
 * every commit. Throws `NotFound` for the key, `Transient`, and what the file system throws.
 */
export async function readPart(path: string, key: string, range: ByteRange | undefined): Promise<Uint8Array> {
  try {
    if (range !== undefined && range.length <= readNowBytesMax) return readNow(path, key, range);
    return await readInPool(path, key, range);
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") throw absent(key);
    throw error;
  }
}

function readNow(path: string, key: string, range: ByteRange): Uint8Array {
  const fd = openSync(path, "r");
  try {
    const info = fstatSync(fd);
    if (!info.isFile()) throw absent(key);
    const { offset, length } = cutRange(range, info.size);
    const body = newBody(length);
    for (let filled = 0; filled < length; ) {
      const bytesRead = readSync(fd, body, filled, length - filled, offset + filled);
      if (bytesRead === 0) throw shortened(key);
      filled += bytesRead;
    }
    return body;
  } finally {
    closeSync(fd);
  }
}

async function readInPool(path: string, key: string, range: ByteRange | undefined): Promise<Uint8Array> {
  const handle = await open(path, "r");
  try {
    const info = await handle.stat();
    if (!info.isFile()) throw absent(key);
    const { offset, length } = cutRange(range, info.size);
    const body = newBody(length);
    for (let filled = 0; filled < length; ) {
      const { bytesRead } = await handle.read(body, filled, length - filled, offset + filled);
      if (bytesRead === 0) throw shortened(key);
      filled += bytesRead;
    }
    return body;
  } finally {
    await handle.close();
  }
}

/** Plain Uint8Array, never a pooled Buffer: callers slice it and hand it to workers. */
const newBody = (length: number): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);

const shortened = (key: string): Transient =>
  new Transient(`The object ${key} became shorter while it was read.`, { key });

const absent = (key: string): NotFound => new NotFound(`There is no object ${key}.`, { key });
