import { availableParallelism } from "node:os";
import { errorFromWire } from "#core/errors.ts";
import type { ApartFrame, ApartRead } from "#core/recovery/view.ts";
import type { HashWindow, WindowHasher, WindowHashes } from "#core/sync/hash-window.ts";
import { WorkerPool } from "../../gateway/worker-pool.ts";
import { siteLimits } from "./limits.ts";

export interface WindowTask {
  readonly length: number;
  /** The bytes of frames and pieces: the thread's until it answers. */
  readonly bytes: SharedArrayBuffer;
  /** `start` and `end`: where in `bytes`. */
  readonly frames: readonly (Pick<ApartFrame, "info" | "runs"> & { readonly start: number; readonly end: number })[];
  /** Three numbers a piece: where in the window, length, where in `bytes`. */
  readonly pieces: Float64Array;
}

export type WindowAnswer =
  | { readonly kind: "hashed"; readonly hashes: WindowHashes }
  | { readonly kind: "failed"; readonly name: string; readonly message: string };

type Pool = Pick<WorkerPool<WindowTask, WindowAnswer>, "run" | "close">;

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
    open = (): Pool => new WorkerPool("../cli/site/window-worker", "window", threads),
  ) {
    // One is read while the others are hashed.
    this.atOnce = threads + 1;
    this.#idleMs = idleMs;
    this.#open = open;
  }

  async use<T>(work: (hash: HashWindow) => Promise<T>): Promise<T> {
    clearTimeout(this.#idle);
    const room = await this.#take();
    try {
      return await work((read) => room.hash(read));
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
    if (next !== undefined) {
      next(room);
      return;
    }
    this.#lent -= 1;
    this.#free.push(room);
    if (this.#lent > 0) return;
    this.#idle = setTimeout(() => void this.close(), this.#idleMs);
    this.#idle.unref();
  }

  #run(task: WindowTask): Promise<WindowAnswer> {
    this.#pool ??= this.#open();
    return this.#pool.run(task, []);
  }
}

/** Memory in which a window's bytes go to a thread. It is shared: V8 takes buffers that are transferred for growth of its heap. */
class Room {
  readonly #run: (task: WindowTask) => Promise<WindowAnswer>;
  #bytes = new SharedArrayBuffer(0);

  constructor(run: (task: WindowTask) => Promise<WindowAnswer>) {
    this.#run = run;
  }

  async hash(read: ApartRead): Promise<WindowHashes> {
    const parts = [...read.frames.map(({ stored }) => stored), ...read.pieces.map(({ bytes }) => bytes)];
    const needed = parts.reduce((sum, part) => sum + part.length, 0);
    if (needed > this.#bytes.byteLength)
      this.#bytes = new SharedArrayBuffer(Math.max(needed, siteLimits.windowRoomBytes));
    // Copied: they may share their memory with what others read.
    const target = new Uint8Array(this.#bytes);
    let end = 0;
    const place = (part: Uint8Array): number => {
      const start = end;
      target.set(part, start);
      end += part.length;
      return start;
    };
    const frames = read.frames.map(({ info, runs, stored }) => ({ info, runs, start: place(stored), end }));
    const pieces = Float64Array.from(read.pieces.flatMap(({ at, bytes }) => [at, bytes.length, place(bytes)]));
    const answer = await this.#run({ length: read.length, bytes: this.#bytes, frames, pieces });
    if (answer.kind === "failed") throw errorFromWire(answer.name, answer.message);
    return answer.hashes;
  }
}
