import type { FileHandle } from "node:fs/promises";
import { writeBackBytes } from "./limits.ts";

/** Has the kernel write to the disk while frames are still decoded: left to the end, it took half a second of two for 1 GiB of data. */
export class WriteBack {
  readonly #handle: Pick<FileHandle, "datasync">;
  #sinceBytes = 0;
  #running = false;
  #done: Promise<void> = Promise.resolve();

  constructor(handle: Pick<FileHandle, "datasync">) {
    this.#handle = handle;
  }

  /** `dataBytes`: all that was written so far. */
  written(dataBytes: number): void {
    if (this.#running || dataBytes - this.#sinceBytes < writeBackBytes) return;
    this.#sinceBytes = dataBytes;
    this.#running = true;
    this.#done = this.#handle.datasync().then(() => {
      this.#running = false;
    });
    // Told by `end`; the kernel tells an error of write-back once, so none may be lost, and none is asked for after the first.
    this.#done.catch(() => undefined);
  }

  /** Resolves when none runs any more. Rejects with the first error of any. */
  end(): Promise<void> {
    return this.#done;
  }
}
