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
import { CommandRunner } from "./control/command-runner.ts";
import type { CommandHandlers } from "./control/handlers.ts";
import { HeartbeatLoop } from "./control/heartbeat-loop.ts";
import { Means } from "./control/means.ts";
import { type SiteAddress, SiteClient } from "./control/site-client.ts";
import { HttpJournal } from "./export/http-journal.ts";
import { openRecoveryHalf } from "./export/recovery-half.ts";
import { siteConnectionsMax } from "./limits.ts";
import type { RecoveryHalf } from "./recovery-half.ts";

import { SourceHalf, type SourceStatus } from "./source/source-half.ts";
import type { OpenDisk } from "./source/source-host.ts";
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
  readonly siteReachable: boolean | undefined;
  readonly source: SourceStatus | undefined;
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
  const address: SiteAddress = { url: config.site, access: config.access, ca: config.ca };
  const site = new SiteClient(address, siteConnectionsMax);
  try {
    const gateway = await Gateway.open(options, { config, log, state, address, site });
    const close = (): void => {
      gateway.close().catch((error: unknown) => log.error("gateway.close-failed", { error }));
    };
    if (options.signal?.aborted === true) close();
    options.signal?.addEventListener("abort", close, { once: true });
    return gateway;
  } catch (error) {
    await site.close();
    await state.close();
    throw error;
  }
}

interface Parts {
  readonly config: GatewayConfig;
  readonly log: Log;
  readonly state: StateDirectory;
  readonly address: SiteAddress;
  readonly site: SiteClient;
}

class Gateway implements RunningGateway {
  readonly ready: Promise<void>;
  readonly #parts: Parts;
  readonly #source: SourceHalf | undefined;
  readonly #recovery: RecoveryHalf | undefined;
  readonly #commands: CommandRunner;
  readonly #heartbeats: HeartbeatLoop;
  #closing: Promise<void> | undefined;

  private constructor(
    parts: Parts,
    source: SourceHalf | undefined,
    recovery: RecoveryHalf | undefined,
    commands: CommandRunner,
  ) {
    const clock = new SystemClock();
    this.#parts = parts;
    this.#source = source;
    this.#recovery = recovery;
    this.#commands = commands;
    this.ready = source?.serving ?? Promise.resolve();
    const processId = newId(clock, new SystemRandom());
    const means = new Means(parts.config.hooks, parts.config.recovery?.directory);
    void means.refresh();
    this.#heartbeats = new HeartbeatLoop({
      site: parts.site,
      clock,
      log: parts.log,
      sample: () => ({
        version,
        sampledAt: clock.now(),
        processId,
        streams: [...(source?.streams() ?? [])],
        attachedOperations: [...(recovery?.attachedOperations() ?? [])],
        means: means.sample(),
      }),
      answered: (answer, number, sent) => {
        source?.told(answer.streams, sent.streams);
        commands.received(answer.commands, number);
      },
      busy: () => commands.busy || source?.busy === true,
    });
  }

  static async open(options: GatewayOptions, parts: Parts): Promise<Gateway> {
    const { config, log, state } = parts;
    const clock = new SystemClock();
    const common = { ...parts, clock, random: new SystemRandom(), hooks: config.hooks, directory: config.directory };
    const { openDisk, wrapChannel } = options;
    const onCrash = options.onCrash ?? ((error: Error) => endProcess(log, error));
    let source: SourceHalf | undefined;
    let recovery: RecoveryHalf | undefined;
    try {
      if (config.source !== undefined) {
        const host = openDisk === undefined ? {} : { openDisk };
        source = await SourceHalf.open({ ...common, config: config.source, onCrash, host, wrapChannel });
      }
      if (config.recovery !== undefined) recovery = await openRecovery(config.recovery.directory, common);
      const handlers: CommandHandlers = { ...source?.handlers, ...recovery?.handlers };
      const commands = await CommandRunner.load({ handlers, state, site: parts.site, clock, log });
      const gateway = new Gateway(parts, source, recovery, commands);
      // Before the first heartbeat: the site counts an operation as attached when its volumes are served again.
      await recovery?.resume();
      source?.start();
      gateway.#heartbeats.start();
      return gateway;
    } catch (error) {
      await recovery?.close();
      await source?.close();
      throw error;
    }
  }

  status(): GatewayStatus {
    return {
      siteReachable: this.#heartbeats.reachable,
      source: this.#source?.status(),
      attachedOperations: this.#recovery?.attachedOperations() ?? [],
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { log, site, state } = this.#parts;
    await this.#heartbeats.close();
    await this.#commands.close();
    const closed = await this.#source?.close();
    await this.#recovery?.close();
    await site.close();
    await state.close();
    log.info("gateway.stopped", closed ?? {});
  }
}

function openRecovery(
  directory: string,
  common: Parts &
    Pick<Site, "clock" | "random"> & { readonly hooks: GatewayConfig["hooks"]; readonly directory: string },
): Promise<RecoveryHalf> {
  const { clock, random, log, hooks, site } = common;
  return openRecoveryHalf({
    directory,
    hooks,
    hookDirectory: common.directory,
    journal: (vpgId, upTo, signal) => new HttpJournal({ routes: site, vpgId, upTo, clock, random, log, signal }),
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
