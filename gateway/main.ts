import { SystemClock } from "#adapters/embedded/clock.ts";
import { createLog } from "#adapters/embedded/log.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { InvalidInput } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { version } from "#core/version.ts";
import type { WrapPeerChannel } from "./barrier/source-barrier.ts";
import { type GatewayConfig, loadGatewayConfig } from "./config.ts";
import { Means } from "./control/means.ts";
import type { SiteAddress, SiteClient } from "./control/site-client.ts";
import { HttpJournal } from "./export/http-journal.ts";
import { openRecoveryHalf } from "./export/recovery-half.ts";
import type { CapturedOperation, RecoveryHalf } from "./recovery-half.ts";
import { SiteLink } from "./site-link.ts";
import { preseedHandlers } from "./source/preseed.ts";
import type { OpenDisk } from "./source/source-host.ts";
import type { SourceStatus } from "./source/source-options.ts";
import { Sources } from "./source/sources.ts";
import { StateDirectory } from "./state/state-directory.ts";

export interface GatewayOptions {
  /** Either a file or what `parseGatewayConfig` made of one. */
  readonly configFile?: string;
  readonly config?: GatewayConfig;
  readonly log?: Log;
  /** Stops the gateway as `close` does. */
  readonly signal?: AbortSignal;
  /** A part died that the rest can't go on without; by default the process ends with status 70 (EX_SOFTWARE). */
  readonly onCrash?: (error: Error) => void;
  /** Opens the protected disks; files and block devices by default. */
  readonly openDisk?: OpenDisk;
  /** Puts something between the gateway and its coordinator's barriers; nothing by default. */
  readonly wrapChannel?: WrapPeerChannel;
}

export interface GatewayStatus {
  /** Of all sites that it talks to; undefined while one's first answer or failure is awaited. */
  readonly siteReachable: boolean | undefined;
  /** Of the VPG that the configuration names, or else the first that reverse protection brought. */
  readonly source: SourceStatus | undefined;
  /** One for each VPG that is captured. */
  readonly sources: readonly SourceStatus[];
  readonly attachedOperations: readonly string[];
}

export interface RunningGateway {
  /** Resolves once everything the configuration names is served: the exports wait for the site's grant (R17). */
  readonly ready: Promise<void>;
  status(): GatewayStatus;
  /** The clean stop: drops clients, drains what is buffered, marks the disks clean. Idempotent. */
  close(): Promise<void>;
}

/** Starts a gateway; resolves when it listens. Throws `InvalidInput`, `DirectoryInUse`, and what the disks throw. */
export async function runGateway(options: GatewayOptions): Promise<RunningGateway> {
  const config = configOf(options);
  const log = options.log ?? createLog({ fields: { part: "gateway" } });
  const state = await StateDirectory.open(config.stateDirectory);
  const links = SiteLink.allOf(config);
  try {
    const gateway = await Gateway.open(options, { config, log, state, links });
    const close = (): void => {
      gateway.close().catch((error: unknown) => log.error("gateway.close-failed", { error }));
    };
    if (options.signal?.aborted === true) close();
    options.signal?.addEventListener("abort", close, { once: true });
    return gateway;
  } catch (error) {
    await Promise.all(links.map((link) => link.close()));
    await state.close();
    throw error;
  }
}

interface Parts {
  readonly config: GatewayConfig;
  readonly log: Log;
  readonly state: StateDirectory;
  readonly links: readonly SiteLink[];
}

class Gateway implements RunningGateway {
  readonly ready: Promise<void>;
  readonly #parts: Parts;
  readonly #sources: Sources | undefined;
  readonly #recovery: RecoveryHalf | undefined;
  #closing: Promise<void> | undefined;

  private constructor(parts: Parts, sources: Sources | undefined, recovery: RecoveryHalf | undefined) {
    this.#parts = parts;
    this.#sources = sources;
    this.#recovery = recovery;
    this.ready = sources?.serving ?? Promise.resolve();
  }

  static async open(options: GatewayOptions, parts: Parts): Promise<Gateway> {
    const { config, log, state, links } = parts;
    const linkOf = (address: SiteAddress): SiteLink => {
      const link = links.find((each) => each.isTo(address));
      if (link === undefined) throw new TypeError("a section's site has no link");
      return link;
    };
    const common = { clock: new SystemClock(), random: new SystemRandom(), log };
    const { openDisk, wrapChannel } = options;
    const onCrash = options.onCrash ?? ((error: Error) => endProcess(log, error));
    let sources: Sources | undefined;
    let recovery: RecoveryHalf | undefined;
    try {
      if (config.recovery !== undefined) {
        const { site, directory } = config.recovery;
        recovery = await openRecovery(directory, config, linkOf(site).client, common);
      }
      const captured = (await recovery?.captured()) ?? [];
      if (config.source !== undefined) {
        const { address, client: site } = linkOf(config.source.site);
        const { hooks, directory } = config;
        const own = {
          config: config.source,
          hooks,
          directory,
          address,
          site,
          state,
          reload: () => configOf(options).source,
        };
        const host = openDisk === undefined ? {} : { openDisk };
        sources = await Sources.open({ ...common, ...own, onCrash, host, wrapChannel, captured });
      }
      // Before the first heartbeat: the site counts an operation as attached when its volumes are served again.
      await recovery?.resume();
      for (const operation of captured) {
        await resumeCapture(operation, sources, recovery, log);
      }
      const gateway = new Gateway(parts, sources, recovery);
      await gateway.#serveLinks(common);
      sources?.start();
      for (const link of links) link.start();
      return gateway;
    } catch (error) {
      await sources?.close();
      await recovery?.close();
      throw error;
    }
  }

  /** Each site hears of, and commands, the halves that are its own. */
  async #serveLinks({ clock, random }: Pick<Site, "clock" | "random">): Promise<void> {
    const { config, log, state, links } = this.#parts;
    const processId = newId(clock, random);
    for (const link of links) {
      const sources = link.isTo(config.source?.site) ? this.#sources : undefined;
      const recovery = link.isTo(config.recovery?.site) ? this.#recovery : undefined;
      const own = recovery && { recovery, link };
      const captures = this.#sources?.handlersFor({ journals: sources !== undefined, own });
      const preseeds =
        recovery && preseedHandlers({ directory: config.recovery?.preseedDirectory, link, state, clock, random, log });
      const means = new Means(config.hooks, recovery && config.recovery?.directory);
      void means.refresh();
      await link.load({
        clock,
        log,
        state,
        handlers: { ...captures, ...recovery?.handlers, ...preseeds },
        sample: () => ({
          version,
          sampledAt: clock.now(),
          processId,
          streams: sources?.streams() ?? [],
          attachedOperations: [...(recovery?.attachedOperations() ?? [])],
          means: means.sample(),
        }),
        told: (answer, sent) => sources?.told(answer.streams, sent.streams),
        busy: () => sources?.busy === true,
      });
    }
  }

  status(): GatewayStatus {
    const sources = this.#sources?.status() ?? [];
    const reachable = this.#parts.links.map((link) => link.reachable);
    return {
      siteReachable: reachable.includes(undefined) ? undefined : !reachable.includes(false),
      source: sources[0],
      sources,
      attachedOperations: this.#recovery?.attachedOperations() ?? [],
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { log, links, state } = this.#parts;
    await Promise.all(links.map((link) => link.stop()));
    const closed = await this.#sources?.close();
    await this.#recovery?.close();
    await Promise.all(links.map((link) => link.close()));
    await state.close();
    log.info("gateway.stopped", closed ?? {});
  }
}

/** What can't be captured again is not exported, and logged; the others are served. */
async function resumeCapture(
  operation: CapturedOperation,
  sources: Sources | undefined,
  recovery: RecoveryHalf | undefined,
  log: Log,
): Promise<void> {
  if (sources === undefined || recovery === undefined) {
    log.error("source.section-missing", { ...operation });
    return;
  }
  try {
    await sources.resume(operation, recovery);
  } catch (error) {
    log.error("source.resume-failed", { ...operation, error });
  }
}

function openRecovery(
  directory: string,
  config: GatewayConfig,
  site: SiteClient,
  { clock, random, log }: Pick<Site, "clock" | "random" | "log">,
): Promise<RecoveryHalf> {
  return openRecoveryHalf({
    directory,
    hooks: config.hooks,
    hookDirectory: config.directory,
    journal: (vpgId, upTo, signal, checkpoint) =>
      new HttpJournal({ routes: site, vpgId, upTo, checkpoint, clock, random, log, signal }),
    clock,
    log,
  });
}

function configOf(options: GatewayOptions): GatewayConfig {
  if (options.config !== undefined) return options.config;
  if (options.configFile === undefined) throw new InvalidInput("a gateway needs a configuration file");
  const token = process.env["FARSHORE_TOKEN"];
  return loadGatewayConfig(options.configFile, token === "" ? undefined : token);
}

function endProcess(log: Log, error: Error): void {
  log.error("gateway.crashed", { error });
  process.exit(70);
}
