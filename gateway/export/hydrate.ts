/** Copies an image into the scratch over it while guests use the disk, until the local file is the whole disk. */
import { chunkBytes, pageBytes } from "#core/blocks/geometry.ts";
import type { Image } from "./image.ts";
import { hydrateFlushBytes, hydrateProgressBytes, hydrateWindowBytes, hydrateWindowsInFlight } from "./limits.ts";
import { orAborted } from "./or-aborted.ts";
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

async function hydrateOnce(device: ScratchDevice, source: Image, options: HydrateOptions): Promise<number> {
  const image = untilAborted(source, options.signal);
  const copies = new Copies(device, image);
  const { sizeBytes } = device;
  let reported = 0;
  try {
    for (let start = 0; start < sizeBytes; ) {
      options.signal.throwIfAborted();
      const end = Math.min((Math.floor(start / pageBytes) + 1) * pageBytes, sizeBytes);
      const next = await hydratePart(device, image, copies, start, end);
      start = next;
      if (start - reported >= hydrateProgressBytes) {
        reported = start;
        options.onProgress(start, sizeBytes);
        await immediate();
      }
    }
  } finally {
    await copies.settle();
  }
  copies.throwIfFailed();
  return copies.copiedBytes;
}

/**
 * Begins the next piece of work between `start` and the end of its page, and returns where the one after begins: a whole page of
 * zeros, some chunks that need nothing, or neighbouring chunks to copy. Those are read at once, since a frame of the journal that
 * shows in many of them is then decoded once.
 */
async function hydratePart(
  device: ScratchDevice,
  image: Image,
  copies: Copies,
  start: number,
  pageEnd: number,
): Promise<number> {
  if (await image.knownZero(start, pageEnd - start)) {
    await device.adoptZeroes(start, pageEnd - start);
    return pageEnd;
  }
  const windowEnd = Math.min(start + hydrateWindowBytes, pageEnd);
  let wanted = start;
  for (let offset = start; offset < windowEnd; offset += chunkBytes) {
    const length = Math.min(chunkBytes, windowEnd - offset);
    const zero = await image.knownZero(offset, length);
    if (!zero && !device.isLocal(offset, length)) continue;
    if (zero) await device.adoptZeroes(offset, length);
    if (offset > wanted) await copies.start(wanted, offset - wanted);
    wanted = offset + length;
  }
  if (windowEnd > wanted) await copies.start(wanted, windowEnd - wanted);
  return windowEnd;
}

/** What is being read and written at the moment. */
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

  /** Begins to copy a range of whole chunks; waits until there is room for another. Throws the error of an earlier one. */
  async start(offset: number, length: number): Promise<void> {
    this.throwIfFailed();
    const copying = this.#copy(offset, length)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#inFlight.delete(copying));
    this.#inFlight.add(copying);
    if (this.#inFlight.size >= hydrateWindowsInFlight) await Promise.race(this.#inFlight);
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

/** An image whose answers are not waited for once the signal is aborted: a journal that is away would hold up a gateway's stop. */
function untilAborted(image: Image, signal: AbortSignal): Image {
  return {
    sizeBytes: image.sizeBytes,
    read: (offset, target) => orAborted(image.read(offset, target), signal),
    knownZero: (offset, length) => orAborted(image.knownZero(offset, length), signal),
  };
}

/** Lets sockets and timers run: everything above may be served from memory. */
function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
