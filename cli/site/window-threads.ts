import { availableParallelism } from "node:os";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { errorFromWire } from "#core/errors.ts";
import type { ApartFrame } from "#core/recovery/view.ts";
import type { WindowHasher, WindowHashes, WindowRoom } from "#core/sync/hash-window.ts";
import { hashWindowChunks } from "#core/sync/limits.ts";
import { WorkerPool } from "../../gateway/worker-pool.ts";
import { siteLimits } from "./limits.ts";

/** Both buffers are transferred, there and back. */
export interface WindowTask {
  readonly window: ArrayBuffer;
  /** Bytes of the window that count. */
  readonly length: number;
  readonly stored: ArrayBuffer;
  /** `start` and `end`: where in `stored`. */
  readonly frames: readonly (Pick<ApartFrame, "info" | "runs"> & { readonly start: number; readonly end: number })[];
}

export interface WindowAnswer {
  readonly window: ArrayBuffer;
  readonly stored: ArrayBuffer;
  readonly hashes?: WindowHashes;
  readonly failure?: { readonly name: string; readonly message: string };
}

type Pool = Pick<WorkerPool<WindowTask, WindowAnswer>, "run" | "close">;

const windowBytes = hashWindowChunks * chunkBytes;

/**
 * Decodes and hashes windows of images in threads, for all comparisons of a site together: its one other thread reads and serves.
 * Threads and memory come with the first window, and go when none was asked for in a while.
 */
export class WindowThreads implements WindowHasher {
  readonly atOnce: number;
  readonly #open: () => Pool;
  readonly #idleMs: number;
  #pool: Pool | undefined;
  readonly #free: Room[] = [];
  readonly #waiting: ((room: Room) => void)[] = [];
  #lent = 0;
  #idle: NodeJS.Timeout | undefined;
  #closing: Promise<void> = Promise.resolve();

  constructor(
    threads = Math.min(siteLimits.windowThreadsMax, availableParallelism()),
    idleMs: number = siteLimits.windowIdleMs,
  ) {
    // One is read while the others are hashed.
    this.atOnce = threads + 1;
    this.#idleMs = idleMs;
    this.#open = () => new WorkerPool("../cli/site/window-worker", "window", threads);
  }

  async use<T>(work: (room: WindowRoom) => Promise<T>): Promise<T> {
    clearTimeout(this.#idle);
    const room = await this.#take();
    try {
      return await work(room);
    } finally {
      this.#give(room);
    }
  }

  /** Ends the threads; who waits for one is told `Transient`. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const pool = this.#pool;
    this.#pool = undefined;
    this.#free.length = 0;
    if (pool !== undefined) this.#closing = pool.close();
    await this.#closing;
  }

  async #take(): Promise<Room> {
    const free = this.#free.pop();
    if (free === undefined && this.#lent === this.atOnce) {
      return new Promise((resolve) => {
        this.#waiting.push(resolve);
      });
    }
    this.#lent += 1;
    return free ?? new Room((task) => this.#run(task));
  }

  #give(room: Room): void {
    const next = this.#waiting.shift();
    if (next !== undefined) return next(room);
    this.#lent -= 1;
    this.#free.push(room);
    if (this.#lent > 0) return;
    this.#idle = setTimeout(() => void this.close(), this.#idleMs);
    this.#idle.unref();
  }

  #run(task: WindowTask): Promise<WindowAnswer> {
    this.#pool ??= this.#open();
    return this.#pool.run(task, [task.window, task.stored]);
  }
}

class Room implements WindowRoom {
  readonly #run: (task: WindowTask) => Promise<WindowAnswer>;
  #window = new ArrayBuffer(windowBytes);
  #stored = new ArrayBuffer(0);

  constructor(run: (task: WindowTask) => Promise<WindowAnswer>) {
    this.#run = run;
  }

  get window(): Uint8Array {
    return new Uint8Array(this.#window);
  }

  async hash(length: number, apart: readonly ApartFrame[]): Promise<WindowHashes> {
    const bytes = apart.reduce((sum, { stored }) => sum + stored.length, 0);
    if (bytes > this.#stored.byteLength) this.#stored = new ArrayBuffer(Math.max(bytes, windowBytes));
    // Copied together: what was read may share its memory with what others read.
    const target = new Uint8Array(this.#stored);
    let end = 0;
    const frames = apart.map(({ info, stored, runs }) => {
      const start = end;
      target.set(stored, start);
      end += stored.length;
      return { info, runs, start, end };
    });
    const [window, stored] = [this.#window, this.#stored];
    try {
      const answer = await this.#run({ window, length, stored, frames });
      this.#window = answer.window;
      this.#stored = answer.stored;
      if (answer.hashes !== undefined) return answer.hashes;
      const { name, message } = answer.failure ?? { name: "Error", message: "a window was not hashed" };
      throw errorFromWire(name, message);
    } finally {
      // They went down with a thread.
      if (this.#window.detached) this.#window = new ArrayBuffer(windowBytes);
      if (this.#stored.detached) this.#stored = new ArrayBuffer(0);
    }
  }
}
