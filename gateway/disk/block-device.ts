/**
 * The disk as the NBD server, the tap and the sync engine see it. Nothing here knows a socket or a file.
 * Completion style: a method that finished at once returns undefined, so that the data plane makes no promise on the sync path.
 */

/** What a disk may refuse with; the values are those of errno(3). */
export type DiskErrno = "EIO" | "ENOSPC" | "EINVAL" | "EPERM" | "ESHUTDOWN" | "ENOTSUP" | "ENOMEM";

/** A disk operation that failed; an NBD client gets `nbdErrno(error)`. */
export class DiskError extends Error {
  readonly errno: DiskErrno;

  constructor(errno: DiskErrno, message: string, options?: ErrorOptions) {
    super(`${errno}: ${message}`, options);
    this.name = "DiskError";
    this.errno = errno;
  }
}

/** A disk. Offsets and lengths are bytes inside the size and multiples of `sectorBytes`; the caller checks that. */
export interface BlockDevice {
  readonly sizeBytes: number;
  readonly sectorBytes: 512 | 4096;
  /** True when every write is refused with EPERM. */
  readonly readOnly: boolean;
  /** Fills the whole of `target`. Throws or rejects with `DiskError`. */
  read(offset: number, target: Uint8Array): void | Promise<void>;
  /** Writes the whole of `source`, which the caller leaves alone until completion; with `fua` it is durable at completion. */
  write(offset: number, source: Uint8Array, fua: boolean): void | Promise<void>;
  /** The range is guaranteed to read as zeros afterwards. */
  writeZeroes(
    offset: number,
    length: number,
    options: { readonly mayTrim: boolean; readonly fua: boolean },
  ): void | Promise<void>;
  /** Makes durable every write that was completed before the call, whichever connection sent it. */
  flush(): Promise<void>;
  /** Present only where a trim is guaranteed to read as zeros over the exact range (R3); otherwise TRIM is not advertised. */
  trim?(offset: number, length: number): void | Promise<void>;
  /** Waits for what is in flight, then releases the disk. Idempotent. */
  close(): Promise<void>;
}

const wireErrno: Readonly<Record<DiskErrno, number>> = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
};

/** The NBD error number (proto.md, "Error values") of whatever a disk threw; what isn't a `DiskError` is an EIO. */
export function nbdErrno(error: unknown): number {
  return error instanceof DiskError ? wireErrno[error.errno] : wireErrno.EIO;
}
