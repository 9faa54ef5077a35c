import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { InvalidInput } from "#core/errors.ts";
import { errorCode } from "./file-errors.ts";

/**
 * The bytes of a file that a person named, at most `bytesMax` of them: a device, a pipe or a larger file is refused before it is
 * read, whatever size it says it has. `what` names the file in errors. Throws `InvalidInput`.
 */
export function readBounded(path: string, what: string, bytesMax: number): Buffer {
  const descriptor = opened(path, what);
  try {
    if (!fstatSync(descriptor).isFile()) throw new InvalidInput(`${what} ${path} is no plain file`, { path });
    const bytes = Buffer.allocUnsafe(bytesMax + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(descriptor, bytes, length, bytes.length - length, null);
    }
    if (length > bytesMax) throw new InvalidInput(`${what} ${path} is larger than ${bytesMax} bytes`, { path });
    return bytes.subarray(0, length);
  } finally {
    closeSync(descriptor);
  }
}

function opened(path: string, what: string): number {
  try {
    // A pipe without a writer would keep the open waiting.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new InvalidInput(`${what} ${path} can't be read (${errorCode(cause)})`, { path }, { cause });
  }
}
