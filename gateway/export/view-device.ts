import { InvalidInput } from "#core/errors.ts";
import type { View } from "#core/recovery/view.ts";
import { type BlockDevice, DiskError } from "../disk/block-device.ts";

/** A view as a disk that can't be written to. */
export class ViewDevice implements BlockDevice {
  readonly sizeBytes: number;
  readonly sectorBytes: 512 | 4096;
  readonly readOnly = true;
  readonly #view: View;

  constructor(view: View, sectorBytes: 512 | 4096) {
    this.#view = view;
    this.sizeBytes = view.sizeBytes;
    this.sectorBytes = sectorBytes;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    try {
      await this.#view.read(offset, target);
    } catch (cause) {
      const errno = cause instanceof InvalidInput ? "EINVAL" : "EIO";
      throw new DiskError(errno, `the journal could not be read for ${target.length} bytes at ${offset}`, { cause });
    }
  }

  write(): never {
    throw readOnly();
  }

  writeZeroes(): never {
    throw readOnly();
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {}
}

function readOnly(): DiskError {
  return new DiskError("EPERM", "a checkpoint is not written to");
}
