/**
 * One client: greeting, option haggling, then requests until it leaves. Parses; request-runner.ts does the work.
 * All replies of one piece of input leave in one write. At a bound of limits.ts the socket is not read.
 */
import type { Socket } from "node:net";
import type { Log } from "#core/ports.ts";
import type { Budget } from "./budget.ts";
import type { Export } from "./export.ts";
import { InputStage } from "./input-stage.ts";
import { optionBytesMax, requestBytesMax, smallPayloadBytesMax } from "./limits.ts";
import { type Catalog, Negotiation, type Step } from "./negotiate.ts";
import {
  clientFlagsBytes,
  command,
  commandFlag,
  encodeGreeting,
  errno,
  optionHeaderBytes,
  optionMagic,
  requestBytes,
  requestErrno,
  requestMagic,
} from "./protocol.ts";
import { RequestRunner } from "./request-runner.ts";
import type { Slab, SlabPool } from "./slab.ts";
import { type Feed, feed } from "./socket-feed.ts";

/** What a connection needs of its server. */
export interface ConnectionHost {
  readonly catalog: Catalog;
  readonly pool: SlabPool;
  readonly budget: Budget;
  readonly log: Log;
  /** False makes the socket copy (socket-feed.ts), as on a Node that can't do otherwise. */
  readonly ownBuffers: boolean;
  readonly handshakeMs: number;
  exportNamed(name: string): Export | undefined;
  onClosed(connection: Connection): void;
}

/** A WRITE whose payload is too large for the stage and is being read into a slab of its own. */
interface LargeWrite {
  readonly slab: Slab;
  readonly handleHigh: number;
  readonly handleLow: number;
  readonly offset: number;
  readonly bytes: number;
  readonly fua: boolean;
  /** Why it will be refused once its payload is out of the way; 0 when it will be done. */
  readonly error: number;
  filled: number;
}

export class Connection {
  readonly transport: "unix" | "tcp";
  readonly #host: ConnectionHost;
  readonly #stage: InputStage;
  readonly #negotiation: Negotiation;
  readonly #feed: Feed;
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  #phase: "flags" | "options" | "requests" | "leaving" | "closed" = "flags";
  #runner: RequestRunner | undefined;
  #large: LargeWrite | undefined;
  #spaceIsLarge = false;
  /** Stopped at a bound; there may be unparsed input. */
  #blocked = false;
  #parsing = false;
  #onSettled: (() => void)[] = [];

  constructor(accepted: Socket, transport: "unix" | "tcp", host: ConnectionHost) {
    this.transport = transport;
    this.#host = host;
    this.#stage = new InputStage(host.pool);
    this.#negotiation = new Negotiation(host.catalog);
    this.#feed = feed(accepted, this, { ownBuffers: host.ownBuffers });
    this.#socket = this.#feed.socket;
    // A reset is one of the client's ways to leave; 'close' follows.
    this.#socket.on("error", () => this.#socket.destroy());
    this.#socket.on("end", () => this.#leave());
    this.#socket.on("close", () => this.#closed());
    if (transport === "tcp") {
      this.#socket.setNoDelay(true);
      this.#socket.setKeepAlive(true);
    }
    this.#timer = setTimeout(() => this.drop(), host.handshakeMs);
    this.#socket.write(encodeGreeting());
  }

  /** The chosen export's name, once there is one. */
  get exportName(): string | undefined {
    return this.#runner?.exported.name;
  }

  get requestsInFlight(): number {
    return this.#runner?.requests ?? 0;
  }

  /** Hard disconnect: what is with the disk goes on, its replies are lost. */
  drop(): void {
    this.#socket.destroy();
  }

  /** Resolves when the connection is closed and none of its requests is with the disk. */
  settled(): Promise<void> {
    if (this.#isSettled()) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#onSettled.push(resolve);
    });
  }

  /** For the socket: where the next bytes go. */
  space(): Buffer {
    const large = this.#large;
    this.#spaceIsLarge = large !== undefined;
    return large === undefined ? this.#stage.space() : large.slab.buffer.subarray(large.filled, large.bytes);
  }

  /** For the socket: bytes came. Returns false to stop the flow. */
  filled(count: number): boolean {
    if (this.#phase === "closed" || this.#phase === "leaving") {
      return false;
    }
    if (this.#spaceIsLarge && this.#large !== undefined) {
      this.#large.filled += count;
    } else {
      this.#stage.filled(count);
    }
    this.#parse();
    return !this.#blocked;
  }

  #unblock(): void {
    if (!this.#blocked || this.#parsing || this.#phase === "closed") {
      return;
    }
    this.#blocked = false;
    this.#parse();
    if (!this.#blocked) {
      this.#feed.resume();
    }
  }

  #progress(): void {
    this.#unblock();
    this.#leaveWhenDone();
    this.#settleWhenDone();
  }

  #parse(): void {
    this.#parsing = true;
    while (!this.#blocked && this.#step()) {
      // Each step takes one option or one request.
    }
    this.#parsing = false;
    this.#runner?.flush();
    this.#leaveWhenDone();
  }

  /** Takes one unit from the input; false when it isn't complete or nothing may be taken. */
  #step(): boolean {
    switch (this.#phase) {
      case "flags":
        return this.#clientFlags();
      case "options":
        return this.#option();
      case "requests":
        if (this.#runner === undefined) {
          return false;
        }
        return this.#large === undefined ? this.#request(this.#runner) : this.#fillLarge(this.#runner, this.#large);
      default:
        return false;
    }
  }

  #clientFlags(): boolean {
    const { slab, position, available } = this.#stage;
    if (available < clientFlagsBytes) {
      return false;
    }
    this.#stage.consume(clientFlagsBytes);
    this.#phase = "options";
    return this.#negotiated(this.#negotiation.clientFlags(slab.buffer.readUInt32BE(position)));
  }

  #option(): boolean {
    const { slab, position, available } = this.#stage;
    if (available < optionHeaderBytes) {
      return false;
    }
    const { buffer } = slab;
    const code = buffer.readUInt32BE(position + 8);
    const length = buffer.readUInt32BE(position + 12);
    if (buffer.readBigUInt64BE(position) !== optionMagic || length > optionBytesMax) {
      this.#refuse();
      return false;
    }
    if (available < optionHeaderBytes + length) {
      return false;
    }
    const start = position + optionHeaderBytes;
    this.#stage.consume(optionHeaderBytes + length);
    return this.#negotiated(this.#negotiation.option(code, buffer.subarray(start, start + length)));
  }

  #negotiated(step: Step): boolean {
    if (step.reply.length > 0) {
      this.#socket.write(Buffer.concat(step.reply));
    }
    switch (step.next) {
      case "continue":
        return true;
      case "transmit":
        return this.#transmit(step.exportName ?? "");
      case "drop":
        this.#refuse();
        return false;
      case "close":
        this.#phase = "leaving";
        return false;
    }
  }

  #transmit(name: string): boolean {
    const exported = this.#host.exportNamed(name);
    if (exported === undefined) {
      this.#refuse();
      return false;
    }
    clearTimeout(this.#timer);
    exported.connections.add(this);
    this.#runner = new RequestRunner(exported, this.#socket, this.#host, () => this.#progress());
    this.#phase = "requests";
    return true;
  }

  #request(runner: RequestRunner): boolean {
    const { slab, position, available } = this.#stage;
    if (available < requestBytes) {
      return false;
    }
    const { buffer } = slab;
    const flags = buffer.readUInt16BE(position + 4);
    const type = buffer.readUInt16BE(position + 6);
    const length = buffer.readUInt32BE(position + 24);
    if (buffer.readUInt32BE(position) !== requestMagic) {
      this.#refuse();
      return false;
    }
    if (type === command.disconnect) {
      this.#phase = "leaving";
      return false;
    }
    const isWrite = type === command.write;
    const payload = isWrite && length <= smallPayloadBytesMax ? length : 0;
    if (available < requestBytes + payload) {
      return false;
    }
    const isOversize = (isWrite || type === command.read) && length > requestBytesMax;
    const bytes = (isWrite || type === command.read) && !isOversize ? length : 0;
    if (!runner.admits(bytes)) {
      this.#blocked = true;
      return false;
    }
    runner.begin(bytes);
    this.#stage.consume(requestBytes + payload);
    const handleHigh = buffer.readUInt32BE(position + 8);
    const handleLow = buffer.readUInt32BE(position + 12);
    // Exact below 2^53; above it the number is still far beyond every disk, and refused as that.
    const offset = buffer.readUInt32BE(position + 16) * 2 ** 32 + buffer.readUInt32BE(position + 20);
    const error = isOversize ? errno.invalid : requestErrno(runner.exported, type, flags, offset, length);
    if (isOversize && isWrite) {
      // Its payload can't be skipped within any bound, so this is the last answer that the client gets.
      runner.answer(handleHigh, handleLow, 0, error);
      this.#phase = "leaving";
      return false;
    }
    if (isWrite && length > smallPayloadBytesMax) {
      const target = this.#host.pool.acquire(length);
      const fua = (flags & commandFlag.fua) !== 0;
      this.#large = { slab: target, handleHigh, handleLow, offset, bytes, fua, error, filled: 0 };
      return true;
    }
    if (error !== 0) {
      runner.answer(handleHigh, handleLow, bytes, error);
      return true;
    }
    const source = isWrite ? buffer.subarray(position + requestBytes, position + requestBytes + length) : undefined;
    this.#run(runner, type, flags, handleHigh, handleLow, offset, length, source);
    return true;
  }

  /** Starts a checked request; `source` is the payload of a write, in the stage. */
  #run(
    runner: RequestRunner,
    type: number,
    flags: number,
    handleHigh: number,
    handleLow: number,
    offset: number,
    length: number,
    source: Buffer | undefined,
  ): void {
    const { device } = runner.exported;
    const fua = (flags & commandFlag.fua) !== 0;
    if (source !== undefined) {
      this.#host.pool.retain(this.#stage.slab);
      runner.write(handleHigh, handleLow, this.#stage.slab, source, offset, fua);
    } else if (type === command.read) {
      runner.read(handleHigh, handleLow, offset, length);
    } else if (type === command.flush) {
      runner.control(handleHigh, handleLow, false, () => device.flush());
    } else if (type === command.trim) {
      runner.control(handleHigh, handleLow, true, () => trim(runner.exported, offset, length, fua));
    } else {
      const options = { mayTrim: (flags & commandFlag.noHole) === 0, fua };
      runner.control(handleHigh, handleLow, true, () => device.writeZeroes(offset, length, options));
    }
  }

  /** Goes on with a large payload, first from what the stage holds; false while bytes are missing. */
  #fillLarge(runner: RequestRunner, large: LargeWrite): boolean {
    const { slab, handleHigh, handleLow, bytes } = large;
    if (large.filled < bytes) {
      large.filled += this.#stage.moveTo(slab.buffer.subarray(large.filled, bytes));
    }
    if (large.filled < bytes) {
      return false;
    }
    this.#large = undefined;
    // Asked again: the export may have become read-only while the payload came.
    const error = large.error === 0 && runner.exported.readOnly ? errno.perm : large.error;
    if (error === 0) {
      runner.write(handleHigh, handleLow, slab, slab.buffer.subarray(0, bytes), large.offset, large.fua);
    } else {
      this.#host.pool.release(slab);
      runner.answer(handleHigh, handleLow, bytes, error);
    }
    return true;
  }

  /** The client broke a rule after which nothing it sends can be understood. */
  #refuse(): void {
    this.#phase = "leaving";
    this.drop();
  }

  /** The client will send nothing more; it may still wait for replies. */
  #leave(): void {
    if (this.#large !== undefined) {
      // It left in the middle of a payload: that request can never be answered.
      this.drop();
    } else if (this.#phase !== "closed") {
      this.#phase = "leaving";
      this.#leaveWhenDone();
    }
  }

  /** A client that said good-bye gets the replies it waits for, then the end of the connection. */
  #leaveWhenDone(): void {
    if (
      this.#phase === "leaving" &&
      this.requestsInFlight === 0 &&
      !this.#socket.writableEnded &&
      !this.#socket.destroyed
    ) {
      this.#runner?.flush();
      this.#socket.end(() => this.#socket.destroySoon());
    }
  }

  #closed(): void {
    this.#phase = "closed";
    clearTimeout(this.#timer);
    if (this.#large !== undefined) {
      this.#host.pool.release(this.#large.slab);
      this.#runner?.abandon(this.#large.bytes);
      this.#large = undefined;
    }
    this.#stage.release();
    this.#runner?.close();
    this.#runner?.exported.connections.delete(this);
    this.#host.onClosed(this);
    this.#settleWhenDone();
  }

  #isSettled(): boolean {
    return this.#phase === "closed" && this.requestsInFlight === 0;
  }

  #settleWhenDone(): void {
    if (this.#onSettled.length > 0 && this.#isSettled()) {
      const waiting = this.#onSettled;
      this.#onSettled = [];
      for (const resolve of waiting) {
        resolve();
      }
    }
  }
}

/** A trim with FUA is durable when the disk's next flush is. */
async function trim(exported: Export, offset: number, length: number, fua: boolean): Promise<void> {
  await exported.device.trim?.(offset, length);
  if (fua) {
    await exported.device.flush();
  }
}
