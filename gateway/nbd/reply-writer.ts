/** Collects the replies of one connection and hands them to its socket in as few writes as possible. */
import type { Socket } from "node:net";
import { stageBytes } from "./limits.ts";
import type { Slab, SlabPool } from "./slab.ts";

/** Bytes `[start, end)` of a slab that are ready to be sent; `budget` is what their sending gives back to the connection. */
interface ReadyRange {
  readonly slab: Slab;
  readonly start: number;
  end: number;
  budget: number;
  replies: number;
}

export class ReplyWriter {
  readonly #socket: Socket;
  readonly #pool: SlabPool;
  readonly #onSent: (budget: number) => void;
  #ready: ReadyRange[] = [];
  #last: ReadyRange | undefined;
  #arena: Slab;
  #cursor = 0;
  #unsent = 0;

  constructor(socket: Socket, pool: SlabPool, onSent: (budget: number) => void) {
    this.#socket = socket;
    this.#pool = pool;
    this.#onSent = onSent;
    this.#arena = pool.acquire(stageBytes);
  }

  /** Replies queued and not taken by the socket. */
  get unsent(): number {
    return this.#unsent;
  }

  /** The slab of the latest `reserve`. */
  get arena(): Slab {
    return this.#arena;
  }

  /** Room for a small reply of up to `bytes` in `arena`; returns where. Replies reserved one after the other lie side by side. */
  reserve(bytes: number): number {
    if (this.#arena.references === 1) {
      this.#cursor = 0;
    } else if (this.#cursor + bytes > this.#arena.buffer.length) {
      this.#pool.release(this.#arena);
      this.#arena = this.#pool.acquire(stageBytes);
      this.#cursor = 0;
    }
    const at = this.#cursor;
    this.#cursor += bytes;
    return at;
  }

  /** Marks a reply as complete; it leaves with the next `flush`. */
  queue(slab: Slab, start: number, bytes: number, budget: number): void {
    this.#unsent++;
    const last = this.#last;
    if (last !== undefined && last.slab === slab && last.end === start) {
      last.end += bytes;
      last.budget += budget;
      last.replies++;
      return;
    }
    this.#pool.retain(slab);
    const range: ReadyRange = { slab, start, end: start + bytes, budget, replies: 1 };
    this.#last = range;
    this.#ready.push(range);
  }

  flush(): void {
    const ready = this.#ready;
    if (ready.length === 0) {
      return;
    }
    this.#ready = [];
    this.#last = undefined;
    if (ready.length === 1) {
      this.#send(ready);
      return;
    }
    this.#socket.cork();
    this.#send(ready);
    this.#socket.uncork();
  }

  /** Replies that are queued but not flushed are dropped with the connection. */
  release(): void {
    for (const range of this.#ready) {
      this.#pool.release(range.slab);
      this.#onSent(range.budget);
    }
    this.#ready = [];
    this.#last = undefined;
    this.#pool.release(this.#arena);
  }

  #send(ready: readonly ReadyRange[]): void {
    for (const range of ready) {
      // The callback also comes, with an error, for what a dropped connection never took.
      this.#socket.write(range.slab.buffer.subarray(range.start, range.end), () => {
        this.#pool.release(range.slab);
        this.#unsent -= range.replies;
        this.#onSent(range.budget);
      });
    }
  }
}
