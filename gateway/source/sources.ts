import type { HeartbeatReply, StreamState } from "#core/api/gateway-api.ts";
import { InvalidInput } from "#core/errors.ts";
import type { SourceConfig } from "../config.ts";
import type { CommandHandler, CommandHandlers, CommandKind } from "../control/handlers.ts";
import { SourceDisks } from "./source-disks.ts";
import { SourceHalf, type SourceOptions, type SourceStatus } from "./source-half.ts";
import { type SourceHost, thisMachine } from "./source-host.ts";

export interface SourcesOptions extends Omit<SourceOptions, "disks" | "capture" | "barrier" | "host"> {
  readonly config: SourceConfig;
  /** Parts of the machine that are not what they usually are. */
  readonly host?: Partial<SourceHost>;
}

/** Everything that a gateway captures: the VPG whose disks its configuration names, if any. One session each, all to one site. */
export class Sources {
  /** What their site may ask of them: each command goes to the half of its VPG. */
  readonly handlers: CommandHandlers = {
    "tag-checkpoint": this.#forward("tag-checkpoint"),
    "shutdown-source": this.#forward("shutdown-source"),
    "power-on-source": this.#forward("power-on-source"),
    "close-volumes": this.#forward("close-volumes"),
    "open-volumes": this.#forward("open-volumes"),
    "hash-volumes": this.#forward("hash-volumes"),
    "ship-wanted": this.#forward("ship-wanted"),
  };
  readonly #halves: SourceHalf[] = [];

  private constructor(halves: readonly SourceHalf[]) {
    this.#halves.push(...halves);
  }

  /** Opens the disks of the configuration and listens; nothing is exported before a session, or the configuration, grants it (R17). */
  static async open(options: SourcesOptions): Promise<Sources> {
    const { config, log } = options;
    const host = { ...thisMachine, ...options.host };
    if (config.vpg === undefined) return new Sources([]);
    const { name, socket, listen, barrier, volumes } = config.vpg;
    const server = host.openServer(log);
    const disks = await SourceDisks.open(name, server, volumes, { ...host, log });
    try {
      if (socket !== undefined) await server.listenUnix(socket);
      if (listen !== undefined) await server.listenTcp(listen.port, listen.host);
    } catch (error) {
      await disks.close();
      throw error;
    }
    return new Sources([await SourceHalf.open({ ...options, host, disks, capture: config, barrier })]);
  }

  /** Resolves when the exports of the start are there for the first time. */
  get serving(): Promise<void> {
    return Promise.all(this.#halves.map((half) => half.serving)).then(() => undefined);
  }

  start(): void {
    for (const half of this.#halves) half.start();
  }

  /** For heartbeats. */
  streams(): StreamState[] {
    return this.#halves.flatMap((half) => half.streams());
  }

  /** What a heartbeat's answer says of the streams; `sent` is what that heartbeat had said. */
  told(streams: HeartbeatReply["streams"], sent: readonly StreamState[]): void {
    for (const half of this.#halves) half.told(streams, sent);
  }

  get busy(): boolean {
    return this.#halves.some((half) => half.busy);
  }

  status(): readonly SourceStatus[] {
    return this.#halves.map((half) => half.status());
  }

  /** The clean stop of all of them. */
  async close(): Promise<{ readonly clean: boolean }> {
    const closed = await Promise.all(this.#halves.map((half) => half.close()));
    return { clean: closed.every(({ clean }) => clean) };
  }

  #forward<K extends CommandKind>(kind: K): CommandHandler<K> {
    return async (body, context) => {
      const half = this.#halves.find(({ vpgId }) => vpgId === body.vpgId);
      if (half === undefined) throw new InvalidInput(`this gateway captures no VPG ${body.vpgId}`);
      const handler = half.handlers[kind];
      if (handler === undefined) throw new TypeError(`a capture half serves ${kind}`);
      return await handler(body, context);
    };
  }
}
