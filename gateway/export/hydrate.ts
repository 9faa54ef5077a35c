/** Copies an image into the scratch over it while guests use the disk, until the local file is the whole disk. */
import { chunkBytes, pageBytes } from "#core/blocks/geometry.ts";
import type { Image } from "./image.ts";
import { hydrateChunksInFlight, hydrateFlushBytes, hydrateProgressBytes } from "./limits.ts";
import type { ScratchDevice } from "./scratch-device.ts";

export interface HydrateOptions {
  readonly signal: AbortSignal;
  /** Bytes of the volume that are done with, of its size. Restarts from 0 when a write failed and the disk is gone over again. */
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Hydrates and promotes. May be repeated at will: what is local already is skipped, a promoted disk is left as it is.
 * Resolves with the bytes copied by this call. Rejects with the signal's reason, the image's error or a `DiskError`; what was copied stays.
 */
export async function hydrate(device: ScratchDevice, image: Image, options: HydrateOptions): Promise<number> {
  let copied = 0;
  for (;;) {
    const failedWrites = device.failedWrites;
    copied += await hydrateOnce(device, image, options);
    if (await device.promote(failedWrites)) return copied;
  }
}

async function hydrateOnce(device: ScratchDevice, image: Image, options: HydrateOptions): Promise<number> {
  const copies = new Copies(device, image);
  const { sizeBytes } = device;
  let reported = 0;
  try {
    for (let page = 0; page < sizeBytes; page += pageBytes) {
      const pageEnd = Math.min(page + pageBytes, sizeBytes);
      const emptyPage = await image.knownZero(page, pageEnd - page);
      const step = emptyPage ? pageEnd - page : chunkBytes;
      for (let offset = page; offset < pageEnd; offset += step) {
        options.signal.throwIfAborted();
        const length = Math.min(step, pageEnd - offset);
        if (emptyPage || (await image.knownZero(offset, length))) await device.adoptZeroes(offset, length);
        else if (!device.isLocal(offset, length)) await copies.start(offset, length);
        if (offset + length - reported >= hydrateProgressBytes) {
          reported = offset + length;
          options.onProgress(reported, sizeBytes);
          await immediate();
        }
      }
    }
  } finally {
    await copies.settle();
  }
  copies.throwIfFailed();
  return copies.copiedBytes;
}

/** The chunks that are being read and written at the moment. */
class Copies {
  copiedBytes = 0;
  readonly #device: ScratchDevice;
  readonly #image: Image;
  readonly #inFlight = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #unflushedBytes = 0;

  constructor(device: ScratchDevice, image: Image) {
    this.#device = device;
    this.#image = image;
  }

  /** Begins to copy a chunk; waits until there is room for another. Throws the error of an earlier one. */
  async start(offset: number, length: number): Promise<void> {
    this.throwIfFailed();
    const copying = this.#copy(offset, length)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#inFlight.delete(copying));
    this.#inFlight.add(copying);
    if (this.#inFlight.size >= hydrateChunksInFlight) await Promise.race(this.#inFlight);
  }

  /** Waits for all of them, failed or not. */
  async settle(): Promise<void> {
    await Promise.all(this.#inFlight);
  }

  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #copy(offset: number, length: number): Promise<void> {
    // Read without the lock: an image doesn't change, and no guest has to wait for the journal.
    const content = Buffer.allocUnsafe(length);
    await this.#image.read(offset, content);
    const bytes = await this.#device.adopt(offset, content);
    this.copiedBytes += bytes;
    this.#unflushedBytes += bytes;
    if (this.#unflushedBytes >= hydrateFlushBytes) {
      this.#unflushedBytes = 0;
      await this.#device.flush();
    }
  }
}

/** Lets sockets and timers run: everything above may be served from memory. */
function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
