import type { Server, TLSSocket } from "node:tls";
import type { OpenSessionReply } from "#core/api/gateway-api.ts";
import { NoCheckpoint, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import type { Clock, Log } from "#core/ports.ts";
import type { BarrierConfig } from "../config.ts";
import { AcknowledgementGate } from "../disk/acknowledgement-gate.ts";
import type { SessionLog } from "../tap/session-log.ts";
import { type CoordinatorChannel, type PeerChannel, socketChannel } from "./channel.ts";
import { Coordinator } from "./coordinator.ts";
import { helloMs, reconnectMsMax, reconnectMsMin, strangersMax } from "./limits.ts";
import { fromCoordinatorSchema, fromPeerSchema } from "./messages.ts";
import { Participant } from "./participant.ts";
import { connectWithKey, listenWithKey } from "./secure-transport.ts";

/** Puts something between a gateway and the messages of its barriers. */
export type WrapPeerChannel = (channel: PeerChannel) => PeerChannel;

export interface SourceBarrierOptions {
  readonly config: BarrierConfig | undefined;
  readonly clock: Clock;
  readonly events: Log;
  readonly wrapChannel?: WrapPeerChannel | undefined;
}

type Group = Required<OpenSessionReply>["barrier"];

/** What a source gateway has to do with barriers: nothing, or it coordinates them, or it takes part in another's. */
export class SourceBarrier {
  readonly gate = new AcknowledgementGate();
  readonly #options: SourceBarrierOptions;
  readonly #stop = new AbortController();
  readonly #strangers = new Set<CoordinatorChannel>();
  #server: Server | undefined;
  #vpgId: Id | undefined;
  #coordinator: Coordinator | undefined;
  #link: Promise<void> | undefined;

  private constructor(options: SourceBarrierOptions) {
    this.#options = options;
  }

  /** Listens if the configuration says so; nobody is let in before the site has said whom this gateway coordinates. */
  static async open(options: SourceBarrierOptions): Promise<SourceBarrier> {
    const barrier = new SourceBarrier(options);
    const { config } = options;
    if (config?.listen !== undefined) {
      barrier.#server = await listenWithKey(config.listen, config.key, (socket) => barrier.#accept(socket));
    }
    return barrier;
  }

  /** A session was opened; `group` is there when the VPG has several source gateways. */
  opened(vpgId: Id, group: Group | undefined, log: SessionLog): void {
    if (group === undefined || this.#vpgId !== undefined) return;
    this.#vpgId = vpgId;
    const { clock, events, config } = this.#options;
    const [first] = group.gateways;
    const own = group.gateways.find(({ gatewayId }) => gatewayId === group.gatewayId);
    if (own === undefined) throw new TypeError("the site's answer lacks this gateway");
    if (first === own) {
      if (this.#server === undefined) events.error("barrier.not-configured", { missing: "barrier_listen" });
      const peers = group.gateways.filter((gateway) => gateway !== own);
      this.#coordinator = new Coordinator({ log, own, peers, clock, events });
      return;
    }
    if (config?.connect === undefined) {
      events.error("barrier.not-configured", { missing: "barrier_connect" });
      return;
    }
    this.#link = this.#stayLinked(config.connect, config.key, own.gatewayId, log);
  }

  /** Of a coordinator: why there is no new checkpoint; null when there is, undefined for any other gateway. */
  get problem(): string | null | undefined {
    return this.#coordinator?.problem;
  }

  /** Of a coordinator, once a checkpoint interval. */
  tick(): void {
    this.#coordinator?.attempt().catch((error: unknown) => this.#options.events.error("barrier.fault", { error }));
  }

  /** True when barriers make the VPG's checkpoints: then `asked` is for those that are asked for. */
  get makesCheckpoints(): boolean {
    return this.#vpgId !== undefined;
  }

  /** As `Coordinator.asked`; throws `NoCheckpoint` where another gateway coordinates. */
  async asked(tag: string, signal: AbortSignal): Promise<Position> {
    if (this.#coordinator === undefined) throw new NoCheckpoint("another gateway coordinates this VPG's checkpoints");
    return await this.#coordinator.asked(tag, signal);
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("the gateway stops"));
    this.#coordinator?.close();
    for (const stranger of this.#strangers) stranger.close();
    this.#server?.close();
    await this.#link;
    this.gate.release(this.#options.clock.monotonic());
  }

  #accept(socket: TLSSocket): void {
    const { events } = this.#options;
    const channel: CoordinatorChannel = socketChannel(socket, fromPeerSchema, (error) =>
      events.debug("barrier.connection", { error }),
    );
    if (this.#coordinator === undefined || this.#strangers.size >= strangersMax || this.#stop.signal.aborted) {
      channel.close();
      return;
    }
    this.#strangers.add(channel);
    let gatewayId: Id | undefined;
    const unknown = setTimeout(() => channel.close(), helloMs);
    channel.listen({
      received: (message) => {
        if (gatewayId !== undefined) {
          this.#coordinator?.received(channel, message);
          return;
        }
        const known = message.kind === "hello" && message.vpgId === this.#vpgId;
        if (!known || this.#coordinator?.joined(message.gatewayId, channel) !== true) {
          events.warn("barrier.stranger", { message });
          channel.close();
          return;
        }
        gatewayId = message.gatewayId;
        clearTimeout(unknown);
        this.#strangers.delete(channel);
      },
      closed: () => {
        clearTimeout(unknown);
        this.#strangers.delete(channel);
        if (gatewayId !== undefined) this.#coordinator?.left(gatewayId, channel);
      },
    });
  }

  /** Connected to the coordinator whenever that can be reached. */
  async #stayLinked(
    address: NonNullable<BarrierConfig["connect"]>,
    key: Uint8Array,
    gatewayId: Id,
    log: SessionLog,
  ): Promise<void> {
    const { clock, events, wrapChannel = (channel) => channel } = this.#options;
    const { signal } = this.#stop;
    let told = false;
    for (let pause = reconnectMsMin; !signal.aborted; pause = Math.min(reconnectMsMax, pause * 2)) {
      try {
        const socket = await connectWithKey(address, key, signal);
        const trouble = (error: unknown): void => events.debug("barrier.connection", { error });
        const channel = wrapChannel(socketChannel(socket, fromCoordinatorSchema, trouble));
        if (!(await this.#takePart(channel, gatewayId, log)))
          throw new Transient("the coordinator closed the connection and had said nothing");
        told = false;
        pause = reconnectMsMin;
      } catch (error) {
        if (!signal.aborted && !told) events.warn("barrier.unreachable", { ...address, error });
        told = true;
      }
      await clock.sleep(pause, signal).catch(() => undefined);
    }
  }

  /** Until the connection is gone; false when the coordinator said nothing: it has no session itself, or knows no such gateway. */
  #takePart(channel: PeerChannel, gatewayId: Id, log: SessionLog): Promise<boolean> {
    const { clock, events } = this.#options;
    const { signal } = this.#stop;
    const vpgId = this.#vpgId;
    if (vpgId === undefined) throw new TypeError("no session was opened yet");
    const participant = new Participant(channel, { log, gate: this.gate, clock });
    let heard = false;
    return new Promise((resolve) => {
      const stop = (): void => channel.close();
      signal.addEventListener("abort", stop, { once: true });
      channel.listen({
        received: (message) => {
          if (!heard) events.info("barrier.connected");
          heard = true;
          participant.received(message);
        },
        closed: () => {
          signal.removeEventListener("abort", stop);
          participant.closed();
          resolve(heard);
        },
      });
      channel.send({ kind: "hello", vpgId, gatewayId });
    });
  }
}
