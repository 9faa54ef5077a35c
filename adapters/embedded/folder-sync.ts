import { open } from "node:fs/promises";

/**
 * Makes names in folders durable. Calls that come while an fsync of the same folder runs share the next one: that one
 * starts after all of them were linked, so it covers them all, and sixteen puts cost two or three fsyncs instead of sixteen.
 */
export class FolderSync {
  readonly #running = new Map<string, Promise<void>>();
  readonly #waiting = new Map<string, Promise<void>>();

  /** Resolves when every change that was made to the folder before this call is on stable storage. */
  sync(folder: string): Promise<void> {
    const running = this.#running.get(folder);
    if (running === undefined) return this.#start(folder);
    let waiting = this.#waiting.get(folder);
    if (waiting === undefined) {
      // A failure of the running one belongs to its own callers; the next one starts all the same.
      const next = () => {
        this.#waiting.delete(folder);
        return this.#start(folder);
      };
      waiting = running.then(next, next);
      this.#waiting.set(folder, waiting);
    }
    return waiting;
  }

  #start(folder: string): Promise<void> {
    const done = syncFolder(folder).finally(() => {
      if (this.#running.get(folder) === done) this.#running.delete(folder);
    });
    this.#running.set(folder, done);
    return done;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
