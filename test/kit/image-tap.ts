import type { Tap } from "../../gateway/tap/tap.ts";

/** Applies what it is told to an image in memory: what a journal of these records would recover. */
export class ImageTap implements Tap {
  readonly image: Buffer;
  distrusts = 0;

  constructor(sizeBytes: number) {
    this.image = Buffer.alloc(sizeBytes);
  }

  write(_volume: number, offset: number, bytes: Uint8Array): void {
    this.image.set(bytes, offset);
  }

  zero(_volume: number, offset: number, length: number): void {
    this.image.fill(0, offset, offset + length);
  }

  distrust(): void {
    this.distrusts++;
  }
}
