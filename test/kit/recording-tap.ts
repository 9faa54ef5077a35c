import type { Tap } from "../../gateway/tap/tap.ts";

/** Keeps what it is told, and can show the image after any number of records. */
export class RecordingTap implements Tap {
  readonly records: { readonly volume: number; readonly offset: number; readonly bytes: Buffer }[] = [];
  readonly distrusts: { readonly volume: number; readonly offset: number; readonly length: number }[] = [];
  /** Sectors of 512 bytes. */
  readonly distrusted = new Set<number>();
  readonly #sizeBytes: number;

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  write(volume: number, offset: number, bytes: Uint8Array): void {
    this.records.push({ volume, offset, bytes: Buffer.from(bytes) });
  }

  zero(volume: number, offset: number, length: number): void {
    this.records.push({ volume, offset, bytes: Buffer.alloc(length) });
  }

  distrust(volume: number, offset: number, length: number): void {
    this.distrusts.push({ volume, offset, length });
    for (let at = offset; at < offset + length; at += 512) {
      this.distrusted.add(at / 512);
    }
  }

  /** The image, from zeros, after the first `count` records. */
  imageAfter(count: number): Buffer {
    const image = Buffer.alloc(this.#sizeBytes);
    for (const { offset, bytes } of this.records.slice(0, count)) {
      bytes.copy(image, offset);
    }
    return image;
  }
}
