import { newId } from "#core/ids.ts";
import type { Log, Random } from "#core/ports.ts";
import { version } from "#core/version.ts";
import type { SourceConfig, SourceVpgConfig, VmHooks } from "../../gateway/config.ts";
import { CommandRunner } from "../../gateway/control/command-runner.ts";
import { HeartbeatLoop } from "../../gateway/control/heartbeat-loop.ts";
import type { SiteTransport } from "../../gateway/control/http-transport.ts";
import { SiteClient } from "../../gateway/control/site-client.ts";
import type { SourceHost } from "../../gateway/source/source-host.ts";
import type { SourceStatus } from "../../gateway/source/source-options.ts";
import { Sources } from "../../gateway/source/sources.ts";
import { Life, mortal, mortalClock } from "../kit/mortal.ts";
import type { Link } from "./link.ts";
import { type RecoveredDisks, RecoveryModel } from "./recovered-disks.ts";
import type { SimDisk } from "./sim-disk.ts";
import { SimExports } from "./sim-exports.ts";
import { SimHasher } from "./sim-hasher.ts";
import { SimShipper } from "./sim-shipper.ts";
import { SimState } from "./sim-state.ts";
import type { SkewedClock } from "./skewed-clock.ts";

/** The VMs of a source machine, as their hooks find them. */
export interface SourceVms {
  readonly running: Set<string>;
  /** When a hook last stopped one, in true time. */
  stoppedAt: number;
}

export interface SimGatewayOptions {
  readonly name: string;
  readonly siteUrl: string;
  readonly link: Link;
  readonly clock: SkewedClock;
  readonly trueNow: () => number;
  readonly random: Random;
  readonly log: Log;
  readonly crashed: (error: Error) => void;
  /** Of a source gateway. */
  readonly source?: {
    readonly capture: Omit<SourceConfig, "site" | "vpg">;
    readonly vpg: SourceVpgConfig;
    readonly disks: ReadonlyMap<string, SimDisk>;
    readonly vms: SourceVms;
  };
  /** Of a recovery gateway. */
  readonly recovery?: RecoveredDisks;
  readonly wrapHost: (host: Partial<SourceHost>) => Partial<SourceHost>;
}

interface Process {
  readonly life: Life;
  readonly exports: SimExports;
  readonly source: Sources | undefined;
  readonly recovery: RecoveryModel | undefined;
  readonly commands: CommandRunner;
  readonly heartbeats: HeartbeatLoop;
}

const hookActions = ["boot", "shutdown", "kill", "status"] as const;

/** A gateway's machine and its process: `gateway/main.ts` without files, sockets and threads. */
export class SimGateway {
  readonly name: string;
  readonly clock: SkewedClock;
  readonly link: Link;
  token = "";
  /** Of the last process, in true time. */
  startedAt = 0;
  readonly #options: SimGatewayOptions;
  readonly #state = new SimState();
  #process: Process | undefined;
  #starting: Life | undefined;

  constructor(options: SimGatewayOptions) {
    this.#options = options;
    this.name = options.name;
    this.clock = options.clock;
    this.link = options.link;
  }

  get up(): boolean {
    return this.#process !== undefined || this.#starting !== undefined;
  }

  get exports(): SimExports | undefined {
    return this.#process?.exports;
  }

  get recovery(): RecoveryModel | undefined {
    return this.#process?.recovery;
  }

  status(): SourceStatus | undefined {
    return this.#process?.source?.status()[0];
  }

  async start(): Promise<void> {
    if (this.up) return;
    const { siteUrl, random, log, source: own, recovery: disks, trueNow } = this.#options;
    const life = new Life();
    this.#starting = life;
    this.startedAt = trueNow();
    const clock = mortalClock(this.clock, life);
    const state = mortal(this.#state, life);
    const transport: SiteTransport = mortal(this.link.transport, life);
    const address = { url: siteUrl, access: { kind: "token", token: this.token } } as const;
    const client = new SiteClient(address, 1, transport);
    const exports = new SimExports();
    const hooks = new Map((own?.vpg.volumes ?? []).map(({ vmName }) => [vmName, hooksOf(vmName)]));
    const source =
      own &&
      (await Sources.open({
        config: { ...own.capture, site: address, vpg: own.vpg },
        reload: () => ({ ...own.capture, site: address, vpg: own.vpg }),
        ...{ hooks, directory: "/", address, site: client, state, clock, random, log },
        onCrash: this.#options.crashed,
        host: this.#options.wrapHost(this.#host(life, own, exports, client)),
      }));
    const recovery = disks && new RecoveryModel({ disks, client, clock, trueNow, random, log });
    const handlers = { ...source?.handlersFor({ journals: true }), ...recovery?.handlers };
    const commands = await CommandRunner.load({ handlers, state, prefix: "command-", site: client, clock, log });
    if (!life.alive) return;
    const processId = newId(clock, random);
    const heartbeats = new HeartbeatLoop({
      ...{ site: client, clock, log },
      sample: () => ({
        ...{ version, sampledAt: clock.now(), processId },
        streams: [...(source?.streams() ?? [])],
        attachedOperations: [...(recovery?.attachedOperations() ?? [])],
      }),
      answered: (answer, number, sent) => {
        source?.told(answer.streams, sent.streams);
        commands.received(answer.commands, number);
      },
      busy: () => commands.busy || source?.busy === true,
    });
    source?.start();
    heartbeats.start();
    this.#process = { life, exports, source, recovery, commands, heartbeats };
    this.#starting = undefined;
  }

  /** SIGKILL. */
  kill(): void {
    const { life, exports } = this.#process ?? { life: this.#starting, exports: undefined };
    this.#process = undefined;
    this.#starting = undefined;
    life?.kill();
    exports?.die();
  }

  /** By hand, while it is stopped: the disks that a committed move closed for good are to be protected anew. */
  openByHand(): void {
    const { source } = this.#options;
    if (source !== undefined) this.#state.edit(`source-${source.vpg.name}`, { closed: null });
  }

  /** SIGTERM: the clean stop, as far as it gets before somebody kills it. */
  async stop(): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    const { life, heartbeats, commands, source } = process;
    const stopped = (async () => {
      await heartbeats.close();
      await commands.close();
      await source?.close();
    })();
    if ((await life.race(stopped)) !== "killed" && this.#process === process) this.kill();
  }

  #host(
    life: Life,
    { vpg, disks, vms }: NonNullable<SimGatewayOptions["source"]>,
    exports: SimExports,
    client: SiteClient,
  ): Partial<SourceHost> {
    const clock = mortalClock(this.clock, life);
    const { random } = this.#options;
    const diskAt = (path: string): SimDisk => {
      const disk = disks.get(path);
      if (disk === undefined) throw new TypeError(`no disk ${path}`);
      return disk;
    };
    return {
      openDisk: ({ path }) => mortal(diskAt(path), life),
      identifyDisk: async (disk) => ({ ...disk, identity: disk.path, modifiedAt: `${diskAt(disk.path).changes}` }),
      lockDisk: () => ({ release: () => undefined }),
      openServer: () => exports,
      openShipper: (_, place, events) => new SimShipper(client, place, events, { clock, random }),
      openHasher: () => new SimHasher(),
      runHook: async ([action = "", vmName = ""]) => {
        await clock.sleep(200);
        const runs = vms.running.has(vmName);
        if (action === "boot") vms.running.add(vmName);
        if (action === "shutdown" || action === "kill") {
          vms.running.delete(vmName);
          vms.stoppedAt = this.#options.trueNow();
        }
        const exitStatus = action === "status" && !runs ? 3 : 0;
        return { exitStatus, timedOut: false, output: vpg.name };
      },
    };
  }
}

function hooksOf(vmName: string): VmHooks {
  return { ...Object.fromEntries(hookActions.map((action) => [action, [action, vmName]])), timeoutMs: 60_000 };
}
