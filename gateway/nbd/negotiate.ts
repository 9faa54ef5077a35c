/** The option haggling of one connection, as a machine over decoded options: no sockets, no time. Strict, and harmless for whatever it is fed. */
import { optionsMax, stringBytesMax } from "./limits.ts";
import {
  decodeGo,
  decodeString,
  type ExportInfo,
  encodeExportNameReply,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  encodeOptionReply,
  encodeServer,
  handshakeFlag,
  info,
  option,
  optionReply,
} from "./protocol.ts";

/** The exports that a negotiation may see. */
export interface Catalog {
  list(): readonly ExportInfo[];
  /** The export of that name; the empty name means the only export of a server that has exactly one. */
  find(name: string): ExportInfo | undefined;
}

/** What to send, and then: go on haggling, serve the chosen export, close politely, or drop. */
export interface Step {
  readonly reply: readonly Uint8Array[];
  readonly next: "continue" | "transmit" | "close" | "drop";
  readonly exportName?: string;
}

const drop: Step = { reply: [], next: "drop" };

export class Negotiation {
  readonly #catalog: Catalog;
  #fixed = false;
  #noZeroes = false;
  #options = 0;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  /** The client's flags; an unknown one must end the connection. */
  clientFlags(flags: number): Step {
    if ((flags & ~(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)) !== 0) {
      return drop;
    }
    this.#fixed = (flags & handshakeFlag.fixedNewstyle) !== 0;
    this.#noZeroes = (flags & handshakeFlag.noZeroes) !== 0;
    return { reply: [], next: "continue" };
  }

  /** One option; its length is already bounded by `optionBytesMax`. */
  option(code: number, data: Buffer): Step {
    this.#options++;
    if (this.#options > optionsMax || (!this.#fixed && code !== option.exportName)) {
      return drop;
    }
    switch (code) {
      case option.exportName:
        return this.#exportName(data);
      case option.abort:
        return { reply: [encodeOptionReply(code, optionReply.ack)], next: "close" };
      case option.list:
        return this.#list(data);
      case option.info:
      case option.go:
        return this.#go(code, data);
      default:
        return refuse(code, optionReply.errUnsupported, "not supported by this server");
    }
  }

  #exportName(data: Buffer): Step {
    const name = decodeString(data);
    const found = name === undefined ? undefined : this.#catalog.find(name);
    if (found === undefined) {
      return drop;
    }
    const reply = encodeExportNameReply(found.sizeBytes, found.flags, this.#noZeroes);
    return { reply: [reply], next: "transmit", exportName: found.name };
  }

  #list(data: Buffer): Step {
    if (data.length !== 0) {
      return refuse(option.list, optionReply.errInvalid, "LIST takes no data");
    }
    const servers = this.#catalog
      .list()
      .map((each) => encodeOptionReply(option.list, optionReply.server, encodeServer(each.name, each.description)));
    return { reply: [...servers, encodeOptionReply(option.list, optionReply.ack)], next: "continue" };
  }

  #go(code: number, data: Buffer): Step {
    const asked = decodeGo(data);
    if (asked === undefined || Buffer.byteLength(asked.name) > stringBytesMax) {
      return refuse(code, optionReply.errInvalid, "malformed request");
    }
    const found = this.#catalog.find(asked.name);
    if (found === undefined) {
      return refuse(code, optionReply.errUnknown, "no such export");
    }
    // The block sizes are sent unasked, which the document allows: a client that ignores them gets EINVAL only for misaligned requests.
    const bodies = [
      encodeInfoExport(found.sizeBytes, found.flags),
      encodeInfoBlockSize(found.blockBytesMin, found.blockBytesPreferred, found.blockBytesMax),
    ];
    if (asked.infos.includes(info.name)) {
      bodies.push(encodeInfoText(info.name, found.name));
    }
    if (asked.infos.includes(info.description) && found.description !== "") {
      bodies.push(encodeInfoText(info.description, found.description));
    }
    const reply = bodies.map((body) => encodeOptionReply(code, optionReply.info, body));
    reply.push(encodeOptionReply(code, optionReply.ack));
    return code === option.go ? { reply, next: "transmit", exportName: found.name } : { reply, next: "continue" };
  }
}

function refuse(code: number, type: number, message: string): Step {
  return { reply: [encodeOptionReply(code, type, Buffer.from(message, "utf8"))], next: "continue" };
}
