/**
 * Runs the requests of one connection on its disk and answers them; knows nothing of their parsing.
 * A request that the disk completes at once costs no promise. What a request holds of the bounds is given back when a write is
 * answered, or when a read's data has left the socket.
 */
import type { Socket } from "node:net";
import type { Log } from "#core/ports.ts";
import { DiskError, nbdErrno } from "../disk/block-device.ts";
import type { Budget } from "./budget.ts";
import type { Export } from "./export.ts";
import { inFlightRequestsPerConnectionMax, smallPayloadBytesMax, unsentRepliesMax } from "./limits.ts";
import { replyBytes, writeReply } from "./protocol.ts";
import { ReplyWriter } from "./reply-writer.ts";
import type { Slab, SlabPool } from "./slab.ts";

export class RequestRunner {
  readonly exported: Export;
  readonly #pool: SlabPool;
  readonly #budget: Budget;
  readonly #log: Log;
  readonly #onProgress: () => void;
  readonly #replies: ReplyWriter;
  readonly #logged = new Set<string>();
  #requests = 0;
  #bytes = 0;
  #flushScheduled = false;
  #closed = false;

  /** `onProgress` is called when something was finished outside a call of the owner, so that it may go on. */
  constructor(
    exported: Export,
    socket: Socket,
    host: { readonly pool: SlabPool; readonly budget: Budget; readonly log: Log },
    onProgress: () => void,
  ) {
    this.exported = exported;
    this.#pool = host.pool;
    this.#budget = host.budget;
    this.#log = host.log;
    this.#onProgress = onProgress;
    this.#replies = new ReplyWriter(socket, host.pool, (budget) => this.#sent(budget));
  }

  /** Requests begun and not answered. */
  get requests(): number {
    return this.#requests;
  }

  /** False while a bound forbids a request with a payload of `bytes`. */
  admits(bytes: number): boolean {
    return (
      this.#requests < inFlightRequestsPerConnectionMax &&
      this.#replies.unsent < unsentRepliesMax &&
      this.#budget.admits(this.#bytes, bytes)
    );
  }

  /** Counts a request that `admits` let in; each ends in exactly one of the calls below. */
  begin(bytes: number): void {
    this.#requests++;
    this.#bytes += bytes;
    this.#budget.take(bytes);
  }

  /** The request's connection broke before its payload was complete. */
  abandon(bytes: number): void {
    this.#requests--;
    this.#giveBack(bytes);
  }

  /** Answers without data. */
  answer(handleHigh: number, handleLow: number, bytes: number, error: number): void {
    this.#requests--;
    if (!this.#closed) {
      const at = this.#replies.reserve(replyBytes);
      writeReply(this.#replies.arena.buffer, at, error, handleHigh, handleLow);
      this.#replies.queue(this.#replies.arena, at, replyBytes, 0);
    }
    this.#giveBack(bytes);
  }

  /** Writes `source`, which lies in `slab`; takes over one reference of the slab. */
  write(handleHigh: number, handleLow: number, slab: Slab, source: Buffer, offset: number, fua: boolean): void {
    this.exported.writeBegins();
    let pending: void | Promise<void>;
    try {
      pending = this.exported.device.write(offset, source, fua);
    } catch (error) {
      this.#wrote(handleHigh, handleLow, slab, source.length, this.#errno(error));
      return;
    }
    if (pending instanceof Promise) {
      pending.then(
        () => this.#wroteLater(handleHigh, handleLow, slab, source.length, 0),
        (error: unknown) => this.#wroteLater(handleHigh, handleLow, slab, source.length, this.#errno(error)),
      );
    } else {
      this.#wrote(handleHigh, handleLow, slab, source.length, 0);
    }
  }

  read(handleHigh: number, handleLow: number, offset: number, bytes: number): void {
    let slab: Slab;
    let at = 0;
    if (bytes <= smallPayloadBytesMax) {
      at = this.#replies.reserve(replyBytes + bytes);
      slab = this.#replies.arena;
      this.#pool.retain(slab);
    } else {
      slab = this.#pool.acquire(replyBytes + bytes);
    }
    const start = at + replyBytes;
    let pending: void | Promise<void>;
    try {
      pending = this.exported.device.read(offset, slab.buffer.subarray(start, start + bytes));
    } catch (error) {
      this.#pool.release(slab);
      this.answer(handleHigh, handleLow, bytes, this.#errno(error));
      return;
    }
    if (pending instanceof Promise) {
      pending.then(
        () => {
          this.#readDone(handleHigh, handleLow, slab, at, bytes);
          this.#later();
        },
        (error: unknown) => {
          this.#pool.release(slab);
          this.answer(handleHigh, handleLow, bytes, this.#errno(error));
          this.#later();
        },
      );
    } else {
      this.#readDone(handleHigh, handleLow, slab, at, bytes);
    }
  }

  /** A flush, trim or write of zeros: `call` starts it; `changes` when it alters the disk. */
  control(handleHigh: number, handleLow: number, changes: boolean, call: () => void | Promise<void>): void {
    if (changes) {
      this.exported.writeBegins();
    }
    const done = (error: number): void => {
      if (changes) {
        this.exported.writeEnds();
      }
      this.answer(handleHigh, handleLow, 0, error);
    };
    let pending: void | Promise<void>;
    try {
      pending = call();
    } catch (error) {
      done(this.#errno(error));
      return;
    }
    if (pending instanceof Promise) {
      pending.then(
        () => {
          done(0);
          this.#later();
        },
        (error: unknown) => {
          done(this.#errno(error));
          this.#later();
        },
      );
    } else {
      done(0);
    }
  }

  /** Sends the replies that are ready. */
  flush(): void {
    if (!this.#closed) {
      this.#replies.flush();
    }
  }

  /** The connection is gone: what is with the disk goes on, and its replies are dropped. */
  close(): void {
    this.#closed = true;
    this.#replies.release();
  }

  #readDone(handleHigh: number, handleLow: number, slab: Slab, at: number, bytes: number): void {
    this.#requests--;
    if (this.#closed) {
      this.#giveBack(bytes);
    } else {
      writeReply(slab.buffer, at, 0, handleHigh, handleLow);
      this.#replies.queue(slab, at, replyBytes + bytes, bytes);
    }
    this.#pool.release(slab);
  }

  #wrote(handleHigh: number, handleLow: number, slab: Slab, bytes: number, error: number): void {
    this.#pool.release(slab);
    this.exported.writeEnds();
    this.answer(handleHigh, handleLow, bytes, error);
  }

  #wroteLater(handleHigh: number, handleLow: number, slab: Slab, bytes: number, error: number): void {
    this.#wrote(handleHigh, handleLow, slab, bytes, error);
    this.#later();
  }

  /** One flush for all requests that finish in the same tick. */
  #later(): void {
    if (this.#flushScheduled) {
      return;
    }
    this.#flushScheduled = true;
    queueMicrotask(() => {
      this.#flushScheduled = false;
      this.flush();
      this.#onProgress();
    });
  }

  #sent(bytes: number): void {
    this.#giveBack(bytes);
    this.#onProgress();
  }

  #giveBack(bytes: number): void {
    this.#bytes -= bytes;
    this.#budget.give(bytes);
  }

  /** The error value for the client; each kind is logged once a connection, because a broken disk fails every request. */
  #errno(error: unknown): number {
    const kind = error instanceof DiskError ? error.errno : "unexpected";
    if (!this.#logged.has(kind)) {
      this.#logged.add(kind);
      this.#log.error("nbd.request-failed", { export: this.exported.name, errno: kind, error });
    }
    return nbdErrno(error);
  }
}
