/**
 * The NBD wire: constants and codecs, no sockets (proto.md of the NBD project; all numbers big-endian).
 * Fixed newstyle negotiation and simple replies only; the rest is answered with UNSUP or EINVAL, as the document asks.
 */

export const nbdMagic = 0x4e42444d41474943n;
export const optionMagic = 0x49484156454f5054n;
export const optionReplyMagic = 0x0003e889045565a9n;
export const requestMagic = 0x25609513;
export const replyMagic = 0x67446698;

export const greetingBytes = 18;
export const clientFlagsBytes = 4;
export const optionHeaderBytes = 16;
export const optionReplyHeaderBytes = 20;
export const requestBytes = 28;
export const replyBytes = 16;

export const handshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const transmissionFlag = {
  hasFlags: 1 << 0,
  readOnly: 1 << 1,
  sendFlush: 1 << 2,
  sendFua: 1 << 3,
  sendTrim: 1 << 5,
  sendWriteZeroes: 1 << 6,
  canMultiConn: 1 << 8,
} as const;

export const option = { exportName: 1, abort: 2, list: 3, info: 6, go: 7 } as const;

export const optionReply = {
  ack: 1,
  server: 2,
  info: 3,
  errUnsupported: 0x8000_0001,
  errInvalid: 0x8000_0003,
  errUnknown: 0x8000_0006,
  errShutdown: 0x8000_0007,
} as const;

export const info = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const command = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6 } as const;

export const commandFlag = { fua: 1, noHole: 2 } as const;

/** Error values of a reply. */
export const errno = {
  perm: 1,
  io: 5,
  noMemory: 12,
  invalid: 22,
  noSpace: 28,
  notSupported: 95,
  shutdown: 108,
} as const;

/** What a client is told about an export. Sizes in bytes; `flags` are transmission flags. */
export interface ExportInfo {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly flags: number;
  readonly blockBytesMin: number;
  readonly blockBytesPreferred: number;
  readonly blockBytesMax: number;
}

/** The server's first message. */
export function encodeGreeting(): Buffer {
  const bytes = Buffer.alloc(greetingBytes);
  bytes.writeBigUInt64BE(nbdMagic, 0);
  bytes.writeBigUInt64BE(optionMagic, 8);
  bytes.writeUInt16BE(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes, 16);
  return bytes;
}

export function encodeOption(code: number, data: Uint8Array): Buffer {
  const header = Buffer.alloc(optionHeaderBytes);
  header.writeBigUInt64BE(optionMagic, 0);
  header.writeUInt32BE(code, 8);
  header.writeUInt32BE(data.length, 12);
  return Buffer.concat([header, data]);
}

export function encodeOptionReply(code: number, type: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(optionReplyHeaderBytes);
  header.writeBigUInt64BE(optionReplyMagic, 0);
  header.writeUInt32BE(code, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
}

/** The answer to EXPORT_NAME, which alone has no header. */
export function encodeExportNameReply(sizeBytes: number, flags: number, noZeroes: boolean): Buffer {
  const bytes = Buffer.alloc(noZeroes ? 10 : 134);
  bytes.writeBigUInt64BE(BigInt(sizeBytes), 0);
  bytes.writeUInt16BE(flags, 8);
  return bytes;
}

export function encodeInfoExport(sizeBytes: number, flags: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt16BE(info.export, 0);
  bytes.writeBigUInt64BE(BigInt(sizeBytes), 2);
  bytes.writeUInt16BE(flags, 10);
  return bytes;
}

export function encodeInfoBlockSize(min: number, preferred: number, max: number): Buffer {
  const bytes = Buffer.alloc(14);
  bytes.writeUInt16BE(info.blockSize, 0);
  bytes.writeUInt32BE(min, 2);
  bytes.writeUInt32BE(preferred, 6);
  bytes.writeUInt32BE(max, 10);
  return bytes;
}

export function encodeInfoText(kind: number, text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  const header = Buffer.alloc(2);
  header.writeUInt16BE(kind, 0);
  return Buffer.concat([header, bytes]);
}

/** The body of one answer to LIST: an export's name, and its description for people. */
export function encodeServer(name: string, description: string): Buffer {
  const bytes = Buffer.from(name, "utf8");
  const header = Buffer.alloc(4);
  header.writeUInt32BE(bytes.length, 0);
  return Buffer.concat([header, bytes, Buffer.from(description, "utf8")]);
}

/** The body of GO and INFO: an export's name and the kinds of information asked for. */
export function encodeGo(name: string, infos: readonly number[]): Buffer {
  const bytes = Buffer.from(name, "utf8");
  const data = Buffer.alloc(4 + bytes.length + 2 + 2 * infos.length);
  data.writeUInt32BE(bytes.length, 0);
  bytes.copy(data, 4);
  data.writeUInt16BE(infos.length, 4 + bytes.length);
  infos.forEach((kind, index) => {
    data.writeUInt16BE(kind, 6 + bytes.length + 2 * index);
  });
  return data;
}

/** The inverse of `encodeGo`, or undefined when a length doesn't fit or the name is no string. */
export function decodeGo(data: Buffer): { readonly name: string; readonly infos: readonly number[] } | undefined {
  if (data.length < 6) {
    return undefined;
  }
  const nameBytes = data.readUInt32BE(0);
  if (nameBytes > data.length - 6) {
    return undefined;
  }
  const name = decodeString(data.subarray(4, 4 + nameBytes));
  const count = data.readUInt16BE(4 + nameBytes);
  if (name === undefined || data.length !== 6 + nameBytes + 2 * count) {
    return undefined;
  }
  const infos = Array.from({ length: count }, (_, index) => data.readUInt16BE(6 + nameBytes + 2 * index));
  return { name, infos };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A string of the protocol: UTF-8 without NUL, or undefined. */
export function decodeString(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) {
    return undefined;
  }
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** A request's header. `handle` is opaque to the server; `offset` below 2^53. */
export interface Request {
  readonly flags: number;
  readonly type: number;
  readonly handle: bigint;
  readonly offset: number;
  readonly length: number;
}

export function encodeRequest(request: Request): Buffer {
  const bytes = Buffer.allocUnsafe(requestBytes);
  bytes.writeUInt32BE(requestMagic, 0);
  bytes.writeUInt16BE(request.flags, 4);
  bytes.writeUInt16BE(request.type, 6);
  bytes.writeBigUInt64BE(request.handle, 8);
  bytes.writeBigUInt64BE(BigInt(request.offset), 16);
  bytes.writeUInt32BE(request.length, 24);
  return bytes;
}

/** Writes the header of a simple reply at `at`; the handle comes as its two halves, as the server keeps it. */
export function writeReply(target: Buffer, at: number, error: number, handleHigh: number, handleLow: number): void {
  target.writeUInt32BE(replyMagic, at);
  target.writeUInt32BE(error, at + 4);
  target.writeUInt32BE(handleHigh, at + 8);
  target.writeUInt32BE(handleLow, at + 12);
}

/** What is wrong with a request on an export, as an error value; 0 when it may go on. `offset` may be beyond what a number holds exactly. */
export function requestErrno(
  exported: {
    readonly sizeBytes: number;
    readonly sectorBytes: number;
    readonly canTrim: boolean;
    readonly readOnly: boolean;
  },
  type: number,
  flags: number,
  offset: number,
  length: number,
): number {
  const allowed = type === command.writeZeroes ? commandFlag.fua | commandFlag.noHole : commandFlag.fua;
  if ((flags & ~allowed) !== 0) {
    return errno.invalid;
  }
  if (type === command.flush) {
    return offset === 0 && length === 0 ? 0 : errno.invalid;
  }
  const writes = type === command.write || type === command.writeZeroes || type === command.trim;
  if (!writes && type !== command.read) {
    return errno.invalid;
  }
  if (writes && exported.readOnly) {
    return errno.perm;
  }
  if (type === command.trim && !exported.canTrim) {
    return errno.invalid;
  }
  if (length === 0 || offset % exported.sectorBytes !== 0 || length % exported.sectorBytes !== 0) {
    return errno.invalid;
  }
  if (offset + length > exported.sizeBytes) {
    return type === command.write || type === command.writeZeroes ? errno.noSpace : errno.invalid;
  }
  return 0;
}
