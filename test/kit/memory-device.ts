import type { BlockDevice } from "../../gateway/disk/block-device.ts";

/** A disk in memory that completes everything at once; `trim` reads as zeros. */
export class MemoryDevice implements BlockDevice {
  readonly sectorBytes: 512 | 4096;
  readonly readOnly: boolean;
  readonly image: Buffer;
  flushes = 0;
  closed = false;

  constructor(sizeBytes: number, options: { readonly sectorBytes?: 512 | 4096; readonly readOnly?: boolean } = {}) {
    this.image = Buffer.alloc(sizeBytes);
    this.sectorBytes = options.sectorBytes ?? 512;
    this.readOnly = options.readOnly ?? false;
  }

  get sizeBytes(): number {
    return this.image.length;
  }

  read(offset: number, target: Uint8Array): void {
    this.image.copy(target, 0, offset, offset + target.length);
  }

  write(offset: number, source: Uint8Array): void {
    this.image.set(source, offset);
  }

  writeZeroes(offset: number, length: number): void {
    this.image.fill(0, offset, offset + length);
  }

  trim(offset: number, length: number): void {
    this.image.fill(0, offset, offset + length);
  }

  flush(): Promise<void> {
    this.flushes++;
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}
