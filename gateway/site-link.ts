import { createHash } from "node:crypto";
import type { Heartbeat } from "#core/api/gateway-api.ts";
import type { Clock, Log } from "#core/ports.ts";
import type { GatewayConfig } from "./config.ts";
import { CommandRunner } from "./control/command-runner.ts";
import type { CommandHandlers } from "./control/handlers.ts";
import { HeartbeatLoop, type HeartbeatParts } from "./control/heartbeat-loop.ts";
import { type SiteAddress, SiteClient } from "./control/site-client.ts";
import { siteConnectionsMax } from "./limits.ts";
import type { StateStore } from "./state/state-directory.ts";

/** What the parts of a gateway that belong to one site have to say to it, and do for it. */
export interface LinkParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly state: StateStore;
  readonly handlers: CommandHandlers;
  readonly sample: () => Omit<Heartbeat, "siteTime">;
  readonly told: (answer: Parameters<HeartbeatParts["answered"]>[0], sent: Heartbeat) => void;
  readonly busy: () => boolean;
}

/** One of the at most two sites that a gateway talks to: its client, its heartbeats, its commands and their memory. */
export class SiteLink {
  readonly address: SiteAddress;
  readonly client: SiteClient;
  /** Names of its commands' documents in the state directory begin so: no site's command is taken for another's. */
  readonly #prefix: string;
  #commands: CommandRunner | undefined;
  #heartbeats: HeartbeatLoop | undefined;

  private constructor(address: SiteAddress, prefix: string) {
    this.address = address;
    this.client = new SiteClient(address, siteConnectionsMax);
    this.#prefix = prefix;
  }

  /** One link for each site that the sections name, whichever names it. */
  static allOf(config: GatewayConfig): readonly SiteLink[] {
    const links: SiteLink[] = [];
    for (const address of [config.source?.site, config.recovery?.site]) {
      if (address === undefined || links.some((link) => link.isTo(address))) continue;
      links.push(new SiteLink(address, prefixOf(address, config.site)));
    }
    return links;
  }

  isTo(address: SiteAddress | undefined): boolean {
    return address !== undefined && sameSite(this.address, address);
  }

  /** Undefined before the first answer or failure. */
  get reachable(): boolean | undefined {
    return this.#heartbeats?.reachable;
  }

  /** Reads what the last life left of the site's commands. */
  async load({ clock, log, state, handlers, sample, told, busy }: LinkParts): Promise<void> {
    const site = this.client;
    const commands = await CommandRunner.load({ handlers, state, prefix: this.#prefix, site, clock, log });
    this.#commands = commands;
    this.#heartbeats = new HeartbeatLoop({
      site,
      clock,
      log,
      sample,
      answered: (answer, number, sent) => {
        told(answer, sent);
        commands.received(answer.commands, number);
      },
      busy: () => commands.busy || busy(),
    });
  }

  start(): void {
    this.#heartbeats?.start();
  }

  /** No heartbeat goes out and no command runs any more; the client goes on until `close`. */
  async stop(): Promise<void> {
    await this.#heartbeats?.close();
    await this.#commands?.close();
  }

  async close(): Promise<void> {
    await this.client.close();
  }
}

function sameSite(left: SiteAddress, right: SiteAddress): boolean {
  return left.url === right.url && JSON.stringify(left.access) === JSON.stringify(right.access);
}

function prefixOf(address: SiteAddress, topLevel: SiteAddress): string {
  if (sameSite(address, topLevel)) return "command-";
  return `command@${createHash("sha256").update(address.url).digest("hex").slice(0, 12)}-`;
}
