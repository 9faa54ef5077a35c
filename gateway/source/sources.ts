import type { HeartbeatReply, StreamState } from "#core/api/gateway-api.ts";
import { CommandFailed, InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { CommandBody } from "#core/protection/command.ts";
import type { SourceConfig, SourceVolumeConfig } from "../config.ts";
import type { CommandContext, CommandHandler, CommandHandlers } from "../control/handlers.ts";
import { seedsAtOnceMax } from "../limits.ts";
import type { CapturedOperation, RecoveryHalf } from "../recovery-half.ts";
import type { SiteLink } from "../site-link.ts";
import { Slots } from "../slots.ts";
import { SourceState } from "../state/source-state.ts";
import { Turns } from "../turns.ts";
import { Seeding, seedDisksOf } from "./seeding.ts";
import { ShippingRate } from "./shipping-rate.ts";
import { SourceDisks } from "./source-disks.ts";
import { SourceHalf } from "./source-half.ts";
import { type SourceHost, thisMachine } from "./source-host.ts";
import type { SourceOptions, SourceStatus } from "./source-options.ts";

type CommandOfVpg = Extract<CommandBody, { readonly vpgId: Id }>;
type ProtectBody = Extract<CommandBody, { kind: "protect-volumes" }>;
type SeedBody = Extract<CommandBody, { kind: "seed-volumes" }>;

/** The site of the gateway's own recovery half. */
export interface OwnSite {
  readonly recovery: Pick<RecoveryHalf, "capture">;
  readonly link: Pick<SiteLink, "address" | "client">;
}

export interface SourcesOptions
  extends Omit<SourceOptions, "disks" | "vpgId" | "capturedTerm" | "capture" | "barrier" | "rate" | "host"> {
  readonly config: SourceConfig;
  /** Reads the configuration again, for a VPG that was edited. Throws `InvalidInput`. */
  readonly reload: () => SourceConfig | undefined;
  /** Parts of the machine that are not what they usually are. */
  readonly host?: Partial<SourceHost>;
  /** VPGs with promoted disks that were captured before: they have followed those of the configuration. */
  readonly captured?: readonly CapturedOperation[];
}

type OpenOptions = SourcesOptions & { readonly host: SourceHost };

/**
 * Everything that a gateway captures: the VPG whose disks its configuration names, if any, and those whose promoted disks reverse
 * protection brought, of which it also seeds the journal of its own site with the old disks. One session each, all to one site.
 */
export class Sources {
  readonly #options: OpenOptions;
  /** One of a VPG. */
  #halves: readonly SourceHalf[] = [];
  /** Of a VPG, the beginnings of captures and the seedings go one after the other. */
  readonly #turns = new Turns<Id>();
  readonly #seeds = new Slots(seedsAtOnceMax);

  readonly #rate: ShippingRate;

  private constructor(options: OpenOptions, rate: ShippingRate) {
    this.#options = options;
    this.#rate = rate;
  }

  /** Opens the disks of the configuration and listens; nothing is exported before a session, or the configuration, grants it (R17). */
  static async open(given: SourcesOptions): Promise<Sources> {
    const { config, log, captured = [] } = given;
    const host = { ...thisMachine, ...given.host };
    const options = { ...given, host };
    const sources = new Sources(options, await ShippingRate.load(options.state, options.clock, config.throttle));
    if (config.vpg === undefined) return sources;
    const { name, socket, listen, barrier, volumes } = config.vpg;
    if (captured.some(({ vpgName }) => vpgName === name)) {
      log.warn("source.disks-superseded", { vpg: name });
      return sources;
    }
    const server = host.openServer(log);
    const address = socket === undefined ? listen : { socketPath: socket };
    const disks = await SourceDisks.open(name, server, volumes, {
      ...{ ...host, log },
      ...(address === undefined ? {} : { address }),
    });
    try {
      if (socket !== undefined) await server.listenUnix(socket);
      if (listen !== undefined) await server.listenTcp(listen.port, listen.host);
      const configured = (): readonly SourceVolumeConfig[] => {
        const { vpg } = options.reload() ?? {};
        if (vpg?.name === name) return vpg.volumes;
        throw new InvalidInput(`the configuration file names another VPG than ${name} now: restart the gateway`);
      };
      const half = { disks, capture: config, configured, rate: sources.#share, barrier };
      sources.#halves = [await SourceHalf.open({ ...options, ...half })];
      return sources;
    } catch (error) {
      await disks.close();
      throw error;
    }
  }

  /** Captures disks that were captured before the process started: they are exported once the site grants it (R17). Before `start`. */
  async resume(operation: CapturedOperation, recovery: Pick<RecoveryHalf, "reopen">): Promise<void> {
    const disks = await recovery.reopen(operation);
    this.#halves = [...this.#halves, await this.#capture(operation, disks)];
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

  /**
   * What a site may ask of the captures; each command goes to the half of its VPG. `journals`: the site that they replicate to. `own`:
   * the site of the gateway's recovery half, which has the promoted disks; that one may begin their capture, close the old ones for
   * good, and seed its own journal with them, and no more.
   */
  handlersFor(site: { readonly journals: boolean; readonly own?: OwnSite | undefined }): CommandHandlers {
    const { journals, own } = site;
    const close = this.#forward("close-volumes");
    return {
      ...(journals ? this.#journalHandlers() : {}),
      ...(own === undefined ? {} : this.#reverseHandlers(own)),
      "close-volumes": async (body, context) => {
        if (!journals && body.term === null) {
          throw new CommandFailed(`only the site that ${body.vpgName} replicates to may close it for a move`);
        }
        return await close(body, context);
      },
    };
  }

  #journalHandlers(): CommandHandlers {
    return {
      "tag-checkpoint": this.#forward("tag-checkpoint"),
      "shutdown-source": this.#forward("shutdown-source"),
      "power-on-source": this.#forward("power-on-source"),
      "open-volumes": this.#forward("open-volumes"),
      "verify-volumes": this.#forward("verify-volumes"),
      "remove-source": this.#forward("remove-source"),
      "hash-volumes": this.#forward("hash-volumes"),
      "ship-wanted": this.#forward("ship-wanted"),
      "scrub-volumes": this.#forward("scrub-volumes"),
      "set-throttle": async ({ bytesPerSecond }) => {
        await this.#rate.order(bytesPerSecond);
        return { nowBytesPerSecond: this.#rate.now() ?? null };
      },
    };
  }

  #reverseHandlers({ recovery, link }: OwnSite): CommandHandlers {
    return {
      "protect-volumes": async (body, { signal }) => {
        await this.#turns.run(body.vpgId, () => this.#protect(body, recovery));
        return { session: await this.#half(body.vpgId, body.vpgName).opened(body.term, signal) };
      },
      "seed-volumes": (body, context) =>
        this.#seeds.run(context.signal, () => this.#turns.run(body.vpgId, () => this.#seed(body, context, link))),
    };
  }

  async #seed(body: SeedBody, context: CommandContext, link: OwnSite["link"]): Promise<Record<string, unknown>> {
    context.signal.throwIfAborted();
    const { disks } = this.#half(body.vpgId, body.vpgName);
    if (disks.exported === "read-write") {
      throw new CommandFailed(`the disks of ${body.vpgName} are in use here: close them first`);
    }
    const { config: capture, host, state, clock, random, log } = this.#options;
    const site = { address: link.address, site: link.client };
    const { disks: fit, leftOut } = seedDisksOf(disks, body.volumes);
    const seeding = new Seeding({ ...site, disks: fit, capture, host, state, clock, random, log }, body);
    return { ...(await seeding.run(context)), leftOut };
  }

  /** Puts the promoted disks in the place of those that the VPG was captured from before, if any. */
  async #protect(body: ProtectBody, recovery: Pick<RecoveryHalf, "capture">): Promise<void> {
    const before = this.#halves.filter((half) => half.isOf(body.vpgId, body.vpgName));
    const known = before.filter((half) => half.recoveredBy === body.promotedBy);
    if (known.some((half) => !half.over)) return;
    if (known.some((half) => half.disks.promotedBy === undefined)) {
      throw new CommandFailed(`the capture of ${body.vpgName} has ended: restart the gateway`);
    }
    const { closed } = (await SourceState.load(this.#options.state, body.vpgName)).facts;
    if (closed?.term != null && closed.vpgId === body.vpgId && closed.term >= body.term) {
      throw new CommandFailed(`the disks of ${body.vpgName} are closed since term ${closed.term}`, {
        term: closed.term,
      });
    }
    const disks = await recovery.capture(body);
    for (const half of before) await half.close();
    this.#halves = this.#halves.filter((half) => !before.includes(half));
    const half = await this.#capture(body, disks);
    this.#halves = [...this.#halves, half];
    half.start();
  }

  #capture({ vpgId, term }: Pick<CapturedOperation, "vpgId" | "term">, disks: SourceDisks): Promise<SourceHalf> {
    const half = {
      disks,
      vpgId,
      capturedTerm: term,
      capture: this.#options.config,
      rate: this.#share,
      barrier: undefined,
    };
    return SourceHalf.open({ ...this.#options, ...half });
  }

  /** What the gateway may ship now, shared evenly by the VPGs that it captures. */
  readonly #share = (): number | undefined => {
    const rate = this.#rate.now();
    return rate === undefined ? undefined : Math.max(1, Math.floor(rate / Math.max(1, this.#halves.length)));
  };

  /** By its name while its site has not said which VPG that is. */
  #half(vpgId: Id, vpgName: string): SourceHalf {
    const half = this.#halves.find((each) => each.isOf(vpgId, vpgName));
    if (half === undefined) throw new CommandFailed(`this gateway has no disks of ${vpgName}`, { vpgId });
    return half;
  }

  #forward<K extends CommandOfVpg["kind"]>(kind: K): CommandHandler<K> {
    return async (body, context) => {
      const { vpgId }: Pick<CommandOfVpg, "vpgId"> = body;
      const half = this.#halves.find((each) => each.vpgId === vpgId);
      if (half === undefined) throw new InvalidInput(`this gateway captures no VPG ${vpgId}`);
      const handler = half.handlers[kind];
      if (handler === undefined) throw new TypeError(`a capture half serves ${kind}`);
      return await handler(body, context);
    };
  }
}
