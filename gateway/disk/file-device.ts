/**
 * A disk in a regular file or on a block device.
 * Small requests are synchronous while the data is cached, the rest goes through libuv's pool (path-chooser.ts). Node can't punch
 * holes, so zeros are really written and `trim` doesn't exist; a range that already reads as zeros is left as it is, which keeps sparse files sparse.
 */
import * as fs from "node:fs";
import { InvalidInput } from "#core/errors.ts";
import { type BlockDevice, type DiskErrno, DiskError } from "./block-device.ts";
import { deviceBytes } from "./device-size.ts";
import { pieceBytes, slowReadMs, slowWriteMs, syncBytesMax } from "./limits.ts";
import { PathChooser } from "./path-chooser.ts";

const zeros = Buffer.alloc(pieceBytes);

const diskErrnoOf: Readonly<Record<string, DiskErrno>> = {
  ENOSPC: "ENOSPC",
  EDQUOT: "ENOSPC",
  EFBIG: "ENOSPC",
  EPERM: "EPERM",
  EACCES: "EPERM",
  EROFS: "EPERM",
  ENOMEM: "ENOMEM",
};

/** Node's error as a `DiskError`; what has no meaning of its own for a guest is an EIO. */
function asDiskError(error: unknown, what: string): DiskError {
  if (error instanceof DiskError) {
    return error;
  }
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return new DiskError(diskErrnoOf[code] ?? "EIO", what, { cause: error });
}

/** What the file system says of a path that someone gave us, as `InvalidInput`: missing, not ours to open, in use. */
function orRefused<Result>(path: string, open: () => Result): Result {
  try {
    return open();
  } catch (cause) {
    const why = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new InvalidInput(`${path} can't be opened as a disk (${why})`, { path }, { cause });
  }
}

function refuseOther(path: string, kind: fs.Stats): void {
  if (kind.isFile() || kind.isBlockDevice()) return;
  throw new InvalidInput(`${path} is neither a regular file nor a block device`, { path });
}

export class FileDevice implements BlockDevice {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sectorBytes: 512 | 4096;
  readonly readOnly: boolean;
  readonly #fd: number;
  readonly #reads = new PathChooser(slowReadMs);
  readonly #writes = new PathChooser(slowWriteMs);
  #pooled = 0;
  #onIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  private constructor(path: string, fd: number, sizeBytes: number, sectorBytes: 512 | 4096, readOnly: boolean) {
    this.path = path;
    this.#fd = fd;
    this.sizeBytes = sizeBytes;
    this.sectorBytes = sectorBytes;
    this.readOnly = readOnly;
  }

  /** Opens an existing file or block device. Throws `InvalidInput` when it is neither, empty, or no whole number of sectors. */
  static open(
    path: string,
    options: { readonly readOnly?: boolean; readonly sectorBytes?: 512 | 4096 } = {},
  ): FileDevice {
    const readOnly = options.readOnly ?? false;
    const sectorBytes = options.sectorBytes ?? 512;
    const kind = orRefused(path, () => fs.statSync(path));
    // Before it is opened: the open of a FIFO would wait for a writer.
    refuseOther(path, kind);
    // O_EXCL on a block device makes Linux refuse one that is mounted or claimed by another driver.
    const exclusive = kind.isBlockDevice() && !readOnly ? fs.constants.O_EXCL : 0;
    const mode = (readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR) | exclusive;
    const fd = orRefused(path, () => fs.openSync(path, mode));
    try {
      return FileDevice.#of(path, fd, sectorBytes, readOnly);
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  /** What the caller opened read-only, and leaves to the device unless this throws as `open` does. */
  static adopt(path: string, fd: number, { sectorBytes }: { readonly sectorBytes: 512 | 4096 }): FileDevice {
    return FileDevice.#of(path, fd, sectorBytes, true);
  }

  static #of(path: string, fd: number, sectorBytes: 512 | 4096, readOnly: boolean): FileDevice {
    const stat = fs.fstatSync(fd);
    refuseOther(path, stat);
    const sizeBytes = stat.isFile() ? stat.size : deviceBytes(fd, stat.rdev);
    if (sizeBytes === 0 || sizeBytes % sectorBytes !== 0) {
      throw new InvalidInput(
        `${path} has ${sizeBytes} bytes, which is no whole number of ${sectorBytes}-byte sectors; enlarge it with truncate`,
        { path, sizeBytes, sectorBytes },
      );
    }
    return new FileDevice(path, fd, sizeBytes, sectorBytes, readOnly);
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    this.#refuseClosed();
    if (target.length > syncBytesMax || !this.#reads.synchronous()) {
      return this.#inPool(this.#transfer("read", offset, target));
    }
    const started = performance.now();
    this.#readNow(offset, target);
    this.#reads.took(performance.now() - started);
  }

  write(offset: number, source: Uint8Array, fua: boolean): void | Promise<void> {
    this.#refuseWrite();
    if (source.length > syncBytesMax || !this.#writes.synchronous()) {
      const written = this.#transfer("write", offset, source);
      return this.#inPool(fua ? written.then(() => this.#sync()) : written);
    }
    const started = performance.now();
    this.#writeNow(offset, source);
    this.#writes.took(performance.now() - started);
    if (fua) {
      return this.flush();
    }
  }

  writeZeroes(
    offset: number,
    length: number,
    options: { readonly mayTrim: boolean; readonly fua: boolean },
  ): void | Promise<void> {
    if (length <= syncBytesMax && !options.mayTrim) {
      return this.write(offset, zeros.subarray(0, length), options.fua);
    }
    this.#refuseWrite();
    return this.#inPool(this.#zeroPieces(offset, length, options));
  }

  async flush(): Promise<void> {
    this.#refuseClosed();
    await this.#inPool(this.#sync());
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeWhenIdle();
    return this.#closing;
  }

  async #closeWhenIdle(): Promise<void> {
    if (this.#pooled > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    fs.closeSync(this.#fd);
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) {
      throw new DiskError("ESHUTDOWN", `${this.path} is closed`);
    }
  }

  #refuseWrite(): void {
    this.#refuseClosed();
    if (this.readOnly) {
      throw new DiskError("EPERM", `${this.path} is open read-only`);
    }
  }

  /** Counts a request that is not done within this tick, for `close`. */
  async #inPool(work: Promise<void>): Promise<void> {
    this.#pooled++;
    try {
      await work;
    } finally {
      this.#pooled--;
      if (this.#pooled === 0) {
        this.#onIdle?.();
      }
    }
  }

  #readNow(offset: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      let count: number;
      try {
        count = fs.readSync(this.#fd, target, done, target.length - done, offset + done);
      } catch (error) {
        throw asDiskError(error, `read at ${offset + done} of ${this.path}`);
      }
      done += this.#progress("read", count, offset + done);
    }
  }

  #writeNow(offset: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      let count: number;
      try {
        count = fs.writeSync(this.#fd, source, done, source.length - done, offset + done);
      } catch (error) {
        throw asDiskError(error, `write at ${offset + done} of ${this.path}`);
      }
      done += this.#progress("write", count, offset + done);
    }
  }

  /** The kernel may do less than asked, but not nothing: a read at the end means that the file was cut under us. */
  #progress(what: string, count: number, offset: number): number {
    if (count === 0) {
      throw new DiskError("EIO", `${what} at ${offset} of ${this.path} did nothing`);
    }
    return count;
  }

  /** The whole of `bytes` to or from `offset` in the pool. */
  #transfer(what: "read" | "write", offset: number, bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      let done = 0;
      const stepped = (error: Error | null, count: number): void => {
        if (error !== null) {
          reject(asDiskError(error, `${what} at ${offset + done} of ${this.path}`));
        } else if (count === 0) {
          reject(new DiskError("EIO", `${what} at ${offset + done} of ${this.path} did nothing`));
        } else {
          done += count;
          done === bytes.length ? resolve() : step();
        }
      };
      const step = (): void => {
        const left = bytes.length - done;
        if (what === "read") {
          fs.read(this.#fd, bytes, done, left, offset + done, stepped);
        } else {
          fs.write(this.#fd, bytes, done, left, offset + done, stepped);
        }
      };
      step();
    });
  }

  /** fdatasync: everything written to the file by anyone is durable (F_FULLFSYNC on macOS, by libuv). */
  #sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#fd, (error) =>
        error === null ? resolve() : reject(asDiskError(error, `flush of ${this.path}`)),
      );
    });
  }

  async #zeroPieces(
    offset: number,
    length: number,
    options: { readonly mayTrim: boolean; readonly fua: boolean },
  ): Promise<void> {
    const present = options.mayTrim ? Buffer.allocUnsafe(Math.min(length, pieceBytes)) : undefined;
    for (let done = 0; done < length; done += pieceBytes) {
      const bytes = Math.min(pieceBytes, length - done);
      const wanted = zeros.subarray(0, bytes);
      if (present !== undefined) {
        await this.#transfer("read", offset + done, present.subarray(0, bytes));
        if (wanted.equals(present.subarray(0, bytes))) {
          continue;
        }
      }
      await this.#transfer("write", offset + done, wanted);
    }
    if (options.fua) {
      await this.#sync();
    }
  }
}
