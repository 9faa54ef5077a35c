import * as fs from "node:fs";
import type { BitmapStore } from "./local-bitmap.ts";

/** The bits in a sparse file. */
export class BitmapFile implements BitmapStore {
  readonly #fd: number;
  #closed = false;

  /** Opens an existing file. */
  constructor(path: string) {
    this.#fd = fs.openSync(path, "r+");
  }

  read(offset: number, target: Uint8Array): void {
    let done = 0;
    while (done < target.length) {
      const count = fs.readSync(this.#fd, target, done, target.length - done, offset + done);
      if (count === 0) break;
      done += count;
    }
    target.fill(0, done);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      done += await new Promise<number>((resolve, reject) => {
        fs.write(this.#fd, bytes, done, bytes.length - done, offset + done, (error, count) =>
          error === null ? resolve(count) : reject(error),
        );
      });
    }
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#fd, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    fs.closeSync(this.#fd);
  }
}
