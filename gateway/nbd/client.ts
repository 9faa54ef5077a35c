/**
 * A small NBD client: fixed newstyle, GO, simple replies, pipelined by handle. Strict: any reply that the protocol forbids ends the
 * connection, and every request then fails with `Transient`. Disk errors of the server come as `DiskError`.
 */
import { connect, type Socket } from "node:net";
import { InvalidInput, LimitExceeded, NotFound, Transient } from "#core/errors.ts";
import { type DiskErrno, DiskError } from "../disk/block-device.ts";
import { clientConnectMs, clientPendingMax, requestBytesMax } from "./limits.ts";
import {
  command,
  commandFlag,
  encodeGo,
  encodeOption,
  encodeRequest,
  errno,
  greetingBytes,
  handshakeFlag,
  info,
  nbdMagic,
  option,
  optionMagic,
  optionReply,
  optionReplyHeaderBytes,
  optionReplyMagic,
  replyBytes,
  replyMagic,
  transmissionFlag,
} from "./protocol.ts";

/** Where a server listens: a Unix socket, or loopback TCP. */
export type NbdAddress = { readonly socketPath: string } | { readonly port: number; readonly host?: string };

interface Pending {
  /** Where a read's data goes. */
  readonly target: Buffer | undefined;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** A reply of the option phase longer than this is no reply to GO. */
const optionReplyBytesMax = 64 * 1024;

const diskErrnoOf = new Map<number, DiskErrno>([
  [errno.perm, "EPERM"],
  [errno.io, "EIO"],
  [errno.noMemory, "ENOMEM"],
  [errno.invalid, "EINVAL"],
  [errno.noSpace, "ENOSPC"],
  [errno.notSupported, "ENOTSUP"],
  [errno.shutdown, "ESHUTDOWN"],
]);

export class NbdClient {
  readonly #socket: Socket;
  readonly #exportName: string;
  readonly #pending = new Map<bigint, Pending>();
  #phase: "greeting" | "go" | "requests" = "greeting";
  #input: Buffer[] = [];
  #inputBytes = 0;
  #reading: { readonly pending: Pending; readonly target: Buffer; filled: number } | undefined;
  #nextHandle = 1n;
  #failure: Error | undefined;
  #ready: ((error: Error | undefined) => void) | undefined;
  sizeBytes = 0;
  /** Transmission flags of the export. */
  flags = 0;
  blockBytesMin = 1;

  private constructor(socket: Socket, exportName: string) {
    this.#socket = socket;
    this.#exportName = exportName;
    socket.on("data", (bytes: Buffer) => this.#received(bytes));
    socket.on("error", (error) => this.#fail(new Transient(`NBD connection: ${error.message}`, {}, { cause: error })));
    socket.on("close", () => this.#fail(new Transient("the NBD server closed the connection")));
  }

  /** Throws `NotFound` when the server has no such export, `Transient` when it can't be reached or speaks something else. */
  static async connect(address: NbdAddress, exportName: string): Promise<NbdClient> {
    const socket =
      "socketPath" in address
        ? connect(address.socketPath)
        : connect({ port: address.port, host: address.host ?? "127.0.0.1", noDelay: true });
    const client = new NbdClient(socket, exportName);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => client.#fail(new Transient("the NBD handshake takes too long")), clientConnectMs);
      client.#ready = (error) => {
        clearTimeout(timer);
        error === undefined ? resolve() : reject(error);
      };
    });
    return client;
  }

  get readOnly(): boolean {
    return (this.flags & transmissionFlag.readOnly) !== 0;
  }

  get canTrim(): boolean {
    return (this.flags & transmissionFlag.sendTrim) !== 0;
  }

  /** Reads into `target`, at most 32 MiB. */
  async readInto(offset: number, target: Buffer): Promise<void> {
    await this.#request(command.read, 0, offset, target.length, undefined, target);
  }

  async read(offset: number, length: number): Promise<Buffer> {
    this.#checkLength(length);
    const target = Buffer.allocUnsafe(length);
    await this.readInto(offset, target);
    return target;
  }

  /** Writes at most 32 MiB; `source` must stay as it is until completion. */
  write(offset: number, source: Uint8Array, options: { readonly fua?: boolean } = {}): Promise<void> {
    const flags = options.fua === true ? commandFlag.fua : 0;
    return this.#request(command.write, flags, offset, source.length, source, undefined);
  }

  writeZeroes(
    offset: number,
    length: number,
    options: { readonly fua?: boolean; readonly noHole?: boolean } = {},
  ): Promise<void> {
    const flags = (options.fua === true ? commandFlag.fua : 0) | (options.noHole === true ? commandFlag.noHole : 0);
    return this.#request(command.writeZeroes, flags, offset, length, undefined, undefined);
  }

  trim(offset: number, length: number): Promise<void> {
    return this.#request(command.trim, 0, offset, length, undefined, undefined);
  }

  flush(): Promise<void> {
    return this.#request(command.flush, 0, 0, 0, undefined, undefined);
  }

  /** Says good-bye; requests in flight are answered first. Idempotent. */
  async disconnect(): Promise<void> {
    if (this.#socket.destroyed) {
      return;
    }
    const closed = new Promise<void>((resolve) => {
      this.#socket.once("close", () => resolve());
    });
    const bytes = encodeRequest({ flags: 0, type: command.disconnect, handle: 0n, offset: 0, length: 0 });
    this.#socket.end(bytes);
    await closed;
  }

  /** Hard disconnect; requests in flight fail. */
  destroy(): void {
    this.#fail(new Transient("the NBD client was closed"));
  }

  #checkLength(length: number): void {
    if (length > requestBytesMax) {
      throw new InvalidInput(`an NBD request carries at most ${requestBytesMax} bytes, not ${length}`, { length });
    }
  }

  async #request(
    type: number,
    flags: number,
    offset: number,
    length: number,
    source: Uint8Array | undefined,
    target: Buffer | undefined,
  ): Promise<void> {
    if (source !== undefined || target !== undefined) {
      this.#checkLength(length);
    }
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
    if (this.#pending.size >= clientPendingMax) {
      throw new LimitExceeded(`more than ${clientPendingMax} NBD requests in flight`, { clientPendingMax });
    }
    const handle = this.#nextHandle;
    this.#nextHandle++;
    await new Promise<void>((resolve, reject) => {
      this.#pending.set(handle, { target, resolve, reject });
      this.#socket.cork();
      this.#socket.write(encodeRequest({ flags, type, handle, offset, length }));
      if (source !== undefined) {
        this.#socket.write(source);
      }
      this.#socket.uncork();
    });
  }

  #received(bytes: Buffer): void {
    let rest = bytes;
    const reading = this.#reading;
    if (reading !== undefined) {
      const count = rest.copy(reading.target, reading.filled);
      reading.filled += count;
      rest = rest.subarray(count);
      this.#finishRead(reading);
    }
    if (rest.length > 0) {
      this.#input.push(rest);
      this.#inputBytes += rest.length;
    }
    try {
      while (this.#failure === undefined && this.#reading === undefined && this.#step()) {
        // Each step takes one message.
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Transient(String(error)));
    }
  }

  #step(): boolean {
    switch (this.#phase) {
      case "greeting":
        return this.#greeting();
      case "go":
        return this.#goReply();
      case "requests":
        return this.#reply();
    }
  }

  /** The next `count` bytes of the input, taken off, or undefined while they aren't there. */
  #take(count: number): Buffer | undefined {
    const bytes = this.#peek(count);
    if (bytes !== undefined) {
      const first = this.#input[0];
      this.#inputBytes -= count;
      if (first !== undefined && first.length > count) {
        this.#input[0] = first.subarray(count);
      } else {
        this.#input.shift();
      }
    }
    return bytes;
  }

  /** As `take`, but leaves them; afterwards they are the start of the first piece. */
  #peek(count: number): Buffer | undefined {
    if (this.#inputBytes < count) {
      return undefined;
    }
    if ((this.#input[0]?.length ?? 0) < count) {
      this.#input = [Buffer.concat(this.#input)];
    }
    return this.#input[0]?.subarray(0, count);
  }

  #greeting(): boolean {
    const bytes = this.#take(greetingBytes);
    if (bytes === undefined) {
      return false;
    }
    const needed = handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes;
    if (
      bytes.readBigUInt64BE(0) !== nbdMagic ||
      bytes.readBigUInt64BE(8) !== optionMagic ||
      (bytes.readUInt16BE(16) & needed) !== needed
    ) {
      throw new Transient("the server doesn't speak NBD's fixed newstyle");
    }
    const flags = Buffer.alloc(4);
    flags.writeUInt32BE(needed, 0);
    this.#socket.write(Buffer.concat([flags, encodeOption(option.go, encodeGo(this.#exportName, [info.blockSize]))]));
    this.#phase = "go";
    return true;
  }

  #goReply(): boolean {
    const header = this.#peek(optionReplyHeaderBytes);
    if (header === undefined) {
      return false;
    }
    const length = header.readUInt32BE(16);
    if (
      header.readBigUInt64BE(0) !== optionReplyMagic ||
      header.readUInt32BE(8) !== option.go ||
      length > optionReplyBytesMax
    ) {
      throw new Transient("the NBD server's answer to GO is malformed");
    }
    const type = header.readUInt32BE(12);
    const message = this.#take(optionReplyHeaderBytes + length);
    if (message === undefined) {
      return false;
    }
    const data = message.subarray(optionReplyHeaderBytes);
    if (type === optionReply.info) {
      this.#info(data);
    } else if (type === optionReply.ack) {
      if ((this.flags & transmissionFlag.hasFlags) === 0) {
        throw new Transient("the NBD server did not describe the export");
      }
      this.#phase = "requests";
      this.#ready?.(undefined);
      this.#ready = undefined;
    } else if (type === optionReply.errUnknown) {
      throw new NotFound(`the NBD server has no export ${JSON.stringify(this.#exportName)}`, {
        name: this.#exportName,
      });
    } else {
      throw new Transient(`the NBD server refused the export: ${data.toString("utf8")}`, { type });
    }
    return true;
  }

  #info(data: Buffer): void {
    const kind = data.length >= 2 ? data.readUInt16BE(0) : -1;
    if (kind === info.export && data.length === 12) {
      const size = data.readBigUInt64BE(2);
      if (size > BigInt(Number.MAX_SAFE_INTEGER)) {
        throw new Transient(`the NBD export is larger than this client can address: ${size} bytes`);
      }
      this.sizeBytes = Number(size);
      this.flags = data.readUInt16BE(10);
    } else if (kind === info.blockSize && data.length === 14) {
      this.blockBytesMin = data.readUInt32BE(2);
    } else if (kind === info.export || kind === info.blockSize || kind < 0) {
      throw new Transient("the NBD server's description of the export is malformed");
    }
  }

  #reply(): boolean {
    const header = this.#take(replyBytes);
    if (header === undefined) {
      return false;
    }
    const handle = header.readBigUInt64BE(8);
    const pending = this.#pending.get(handle);
    if (header.readUInt32BE(0) !== replyMagic || pending === undefined) {
      throw new Transient("the NBD server sent a reply to nothing we asked");
    }
    this.#pending.delete(handle);
    const error = header.readUInt32BE(4);
    if (error !== 0) {
      pending.reject(new DiskError(diskErrnoOf.get(error) ?? "EIO", `the NBD server answered with error ${error}`));
    } else if (pending.target === undefined) {
      pending.resolve();
    } else {
      this.#reading = { pending, target: pending.target, filled: 0 };
      const rest = this.#input;
      this.#input = [];
      this.#inputBytes = 0;
      this.#refill(rest);
    }
    return true;
  }

  /** Gives what had already come to the read that has just begun, and keeps the rest as input. */
  #refill(pieces: readonly Buffer[]): void {
    const reading = this.#reading;
    for (const piece of pieces) {
      const count = reading === undefined ? 0 : piece.copy(reading.target, reading.filled);
      if (reading !== undefined) {
        reading.filled += count;
      }
      if (count < piece.length) {
        this.#input.push(piece.subarray(count));
        this.#inputBytes += piece.length - count;
      }
    }
    if (reading !== undefined) {
      this.#finishRead(reading);
    }
  }

  #finishRead(reading: { readonly pending: Pending; readonly target: Buffer; readonly filled: number }): void {
    if (reading.filled === reading.target.length) {
      this.#reading = undefined;
      reading.pending.resolve();
    }
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) {
      return;
    }
    this.#failure = error;
    this.#socket.destroy();
    this.#ready?.(error);
    this.#ready = undefined;
    this.#reading?.pending.reject(error);
    this.#reading = undefined;
    for (const pending of this.#pending.values()) {
      pending.reject(error);
    }
    this.#pending.clear();
  }
}
