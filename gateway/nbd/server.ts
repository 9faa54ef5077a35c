/**
 * Exports disks over NBD on Unix sockets (mode 0600) and loopback TCP. There is no TLS and no password in this protocol as we speak it:
 * who can open the socket has the disk. Other addresses are therefore refused.
 */
import { createServer, type Server } from "node:net";
import { InvalidInput, LimitExceeded, NotFound } from "#core/errors.ts";
import type { Log } from "#core/ports.ts";
import type { BlockDevice } from "../disk/block-device.ts";
import { Budget } from "./budget.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import { Export } from "./export.ts";
import { connectionsMax, exportsMax, handshakeMs, stringBytesMax } from "./limits.ts";
import type { Catalog } from "./negotiate.ts";
import type { ExportInfo } from "./protocol.ts";
import { SlabPool } from "./slab.ts";
import { bindUnixSocket, removeSocket } from "./unix-socket.ts";

/** One client as an operator sees it. */
export interface ClientInfo {
  /** Undefined while it haggles. */
  readonly exportName: string | undefined;
  readonly transport: "unix" | "tcp";
  readonly requestsInFlight: number;
}

export class NbdServer implements Catalog {
  readonly #exports = new Map<string, Export>();
  readonly #connections = new Set<Connection>();
  readonly #listeners = new Set<{ readonly server: Server; readonly socketPath?: string }>();
  readonly #host: ConnectionHost;
  #closing = false;

  /** `ownBuffers: false` is the way of socket-feed.ts without private parts of Node; `handshakeMs` bounds the option haggling. */
  constructor(options: { readonly log: Log; readonly ownBuffers?: boolean; readonly handshakeMs?: number }) {
    this.#host = {
      catalog: this,
      pool: new SlabPool(),
      budget: new Budget(),
      log: options.log,
      ownBuffers: options.ownBuffers ?? true,
      handshakeMs: options.handshakeMs ?? handshakeMs,
      exportNamed: (name) => this.#exports.get(name),
      onClosed: (connection) => this.#connections.delete(connection),
    };
  }

  /** Throws `InvalidInput` for a name that is taken or no NBD string, `LimitExceeded`. The device stays the caller's to close. */
  addExport(
    name: string,
    device: BlockDevice,
    options: { readonly readOnly?: boolean; readonly description?: string } = {},
  ): void {
    const description = options.description ?? "";
    for (const text of [name, description]) {
      if (Buffer.byteLength(text) > stringBytesMax || text.includes("\0")) {
        throw new InvalidInput("an export's name and description have at most 4096 bytes and no NUL", { name });
      }
    }
    if (this.#exports.has(name)) {
      throw new InvalidInput(`there is an export ${JSON.stringify(name)} already; remove it first`, { name });
    }
    if (this.#exports.size >= exportsMax) {
      throw new LimitExceeded(`a server has at most ${exportsMax} exports`, { exportsMax });
    }
    this.#exports.set(name, new Export(name, device, { readOnly: options.readOnly ?? false, description }));
  }

  /** Takes the export away and drops its clients; resolves when none of their requests is with the disk. Idempotent. */
  async removeExport(name: string): Promise<void> {
    const exported = this.#exports.get(name);
    this.#exports.delete(name);
    if (exported !== undefined) {
      await dropAll([...exported.connections]);
    }
  }

  /** Refuses writes with EPERM from now on; resolves when those already with the disk are done. Throws `NotFound`. */
  setReadOnly(name: string): Promise<void> {
    return this.#existing(name).setReadOnly();
  }

  /** Drops an export's clients (they may come back); resolves when none of their requests is with the disk. Throws `NotFound`. */
  dropClients(name: string): Promise<void> {
    return dropAll([...this.#existing(name).connections]);
  }

  clients(): readonly ClientInfo[] {
    return [...this.#connections].map(({ exportName, transport, requestsInFlight }) => ({
      exportName,
      transport,
      requestsInFlight,
    }));
  }

  /** Payload bytes that all connections hold. */
  get bytesInFlight(): number {
    return this.#host.budget.bytes;
  }

  list(): readonly ExportInfo[] {
    return [...this.#exports.values()].map((each) => each.info());
  }

  find(name: string): ExportInfo | undefined {
    const found = this.#exports.get(name);
    if (found === undefined && name === "" && this.#exports.size === 1) {
      return this.list()[0];
    }
    return found?.info();
  }

  /** Listens on a Unix socket, mode 0600. A stale one is replaced; throws `InvalidInput` when someone listens there, or no socket is there. */
  async listenUnix(socketPath: string): Promise<void> {
    const server = this.#createServer("unix");
    await bindUnixSocket(server, socketPath);
    this.#listeners.add({ server, socketPath });
  }

  /** Listens on loopback TCP and returns the port (0 asks for a free one). Throws `InvalidInput` for any other address. */
  async listenTcp(port: number, host = "127.0.0.1"): Promise<number> {
    const address = host === "localhost" ? "127.0.0.1" : host;
    if (address !== "::1" && !/^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address)) {
      throw new InvalidInput(`NBD listens on loopback addresses only, not on ${host}; use a tunnel`, { host });
    }
    const server = this.#createServer("tcp");
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port, host: address }, resolve);
    });
    this.#listeners.add({ server });
    const bound = server.address();
    return typeof bound === "object" && bound !== null ? bound.port : port;
  }

  /** Stops listening, drops every client and waits for the disks. The devices stay open. Idempotent. */
  async close(): Promise<void> {
    this.#closing = true;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    const closed = listeners.map(
      ({ server, socketPath }) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          if (socketPath !== undefined) {
            removeSocket(socketPath);
          }
        }),
    );
    await dropAll([...this.#connections]);
    await Promise.all(closed);
  }

  #existing(name: string): Export {
    const found = this.#exports.get(name);
    if (found === undefined) {
      throw new NotFound(`there is no export ${JSON.stringify(name)}`, { name });
    }
    return found;
  }

  #createServer(transport: "unix" | "tcp"): Server {
    return createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
      if (this.#closing || this.#connections.size >= connectionsMax) {
        this.#host.log.warn("nbd.connection-refused", { connections: this.#connections.size, connectionsMax });
        socket.destroy();
        return;
      }
      this.#connections.add(new Connection(socket, transport, this.#host));
    });
  }
}

async function dropAll(connections: readonly Connection[]): Promise<void> {
  await Promise.all(
    connections.map((connection) => {
      connection.drop();
      return connection.settled();
    }),
  );
}
