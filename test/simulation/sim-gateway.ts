import type { StreamState } from "#core/api/gateway-api.ts";
import type { Id } from "#core/ids.ts";
import { newId } from "#core/ids.ts";
import type { Log, Random } from "#core/ports.ts";
import { version } from "#core/version.ts";
import type { SourceConfig, SourceVpgConfig, VmHooks } from "../../gateway/config.ts";
import { CommandRunner } from "../../gateway/control/command-runner.ts";
import type { CommandHandlers } from "../../gateway/control/handlers.ts";
import { HeartbeatLoop } from "../../gateway/control/heartbeat-loop.ts";
import type { SiteTransport } from "../../gateway/control/http-transport.ts";
import { SiteClient } from "../../gateway/control/site-client.ts";
import type { SourceHost } from "../../gateway/source/source-host.ts";
import type { SourceStatus } from "../../gateway/source/source-options.ts";
import { Sources } from "../../gateway/source/sources.ts";
import { Life, mortal, mortalClock } from "../kit/mortal.ts";
import type { Link } from "./link.ts";
import type { Machine } from "./machine.ts";
import { type AttachBody, type Images, type RecoveredDisks, RecoveryModel } from "./recovered-disks.ts";
import type { SimDisk } from "./sim-disk.ts";
import { SimExports } from "./sim-exports.ts";
import { SimHasher } from "./sim-hasher.ts";
import { SimShipper } from "./sim-shipper.ts";
import type { SimSite } from "./sim-site.ts";
import { SimState } from "./sim-state.ts";
import type { SkewedClock } from "./skewed-clock.ts";

/** A site that a gateway talks to, and its network there. */
export interface SiteWire {
  readonly site: SimSite;
  readonly link: Link;
  /** The gateway's own at that site. */
  token: string;
}

export interface SimGatewayOptions {
  readonly name: string;
  /** The site of its recovery half, which stands beside it. */
  readonly own: SiteWire;
  /** The site that it replicates to. */
  readonly remote: SiteWire;
  readonly clock: SkewedClock;
  readonly trueNow: () => number;
  readonly random: Random;
  readonly log: Log;
  readonly crashed: (error: Error) => void;
  readonly capture: Omit<SourceConfig, "site" | "vpg">;
  /** Of the one that has a VPG's disks from the first. */
  readonly configured?: { readonly vpg: () => SourceVpgConfig; readonly machine: () => Machine };
  readonly recovered: RecoveredDisks;
  readonly recover: (gateway: SimGateway, body: AttachBody, images: Images) => Machine;
  readonly wrapHost: (host: Partial<SourceHost>) => Partial<SourceHost>;
}

interface Talk {
  readonly client: SiteClient;
  readonly commands: CommandRunner;
  readonly heartbeats: HeartbeatLoop;
}

interface Process {
  readonly life: Life;
  readonly exports: SimExports;
  readonly sources: Sources;
  readonly recovery: RecoveryModel;
  readonly talks: readonly Talk[];
}

interface TalkParts {
  readonly client: SiteClient;
  readonly prefix: string;
  readonly handlers: CommandHandlers;
  readonly sources: Sources | undefined;
  readonly recovery: RecoveryModel | undefined;
}

const hookActions = ["boot", "shutdown", "kill", "status"] as const;
const hooks = new Map<string, VmHooks>([
  ["vm", { ...Object.fromEntries(hookActions.map((action) => [action, [action, "vm"]])), timeoutMs: 60_000 }],
]);

/** A gateway's machine and its process: `gateway/main.ts` without files, sockets and threads. */
export class SimGateway {
  readonly name: string;
  readonly clock: SkewedClock;
  readonly own: SiteWire;
  readonly remote: SiteWire;
  readonly recovered: RecoveredDisks;
  /** Of the last process, in true time. */
  startedAt = 0;
  readonly #options: SimGatewayOptions;
  readonly #state = new SimState();
  /** Gone for good, with its machine and what ran on it. */
  #lost = false;
  #process: Process | undefined;
  #starting: Life | undefined;

  constructor(options: SimGatewayOptions) {
    this.#options = options;
    this.name = options.name;
    this.clock = options.clock;
    this.own = options.own;
    this.remote = options.remote;
    this.recovered = options.recovered;
  }

  get up(): boolean {
    return this.#process !== undefined || this.#starting !== undefined;
  }

  get lost(): boolean {
    return this.#lost;
  }

  /** Those that the configuration names. */
  get exports(): SimExports | undefined {
    return this.#process?.exports;
  }

  get recovery(): RecoveryModel | undefined {
    return this.#process?.recovery;
  }

  /** All that its machine ever ran, the oldest first. */
  get machines(): readonly Machine[] {
    const { configured } = this.#options;
    return [...(configured === undefined ? [] : [configured.machine()]), ...this.recovered.machines];
  }

  /** Of the capture of that VPG. */
  status(vpgId: Id): (SourceStatus & { readonly stream: StreamState | null }) | undefined {
    const all = this.#process?.sources.status() ?? [];
    return all.find(({ stream }) => stream?.vpgId === vpgId) ?? all.find(({ stream }) => stream === null);
  }

  async start(): Promise<void> {
    if (this.up || this.#lost) return;
    const { random, log, configured, recovered: disks, trueNow, capture } = this.#options;
    const life = new Life();
    this.#starting = life;
    this.startedAt = trueNow();
    const clock = mortalClock(this.clock, life);
    const clientOf = ({ site, link, token }: SiteWire) => {
      const transport: SiteTransport = mortal(link.transport, life);
      const address = { url: `http://${site.name}.example`, access: { kind: "token", token } } as const;
      return { address, client: new SiteClient(address, 1, transport) };
    };
    const [own, remote] = [clientOf(this.own), clientOf(this.remote)];
    const exports = new SimExports();
    const recover = (body: AttachBody, images: Images): Machine => this.#options.recover(this, body, images);
    const recovery = new RecoveryModel({ disks, client: own.client, clock, trueNow, random, log, life, recover });
    const captured = await recovery.captured();
    const config = (): SourceConfig => ({ ...capture, site: remote.address, vpg: configured?.vpg() });
    const sources = await Sources.open({
      config: config(),
      reload: config,
      ...{ hooks, directory: "/", address: remote.address, site: remote.client, state: mortal(this.#state, life) },
      ...{ clock, random, log, captured },
      onCrash: this.#options.crashed,
      host: this.#options.wrapHost(this.#host(life, exports, [own, remote])),
    });
    await recovery.resume();
    for (const operation of captured) await sources.resume(operation, recovery);
    const talks = await Promise.all([
      this.#talk(life, {
        ...{ client: remote.client, prefix: "command-", sources, recovery: undefined },
        handlers: sources.handlersFor({ journals: true }),
      }),
      this.#talk(life, {
        ...{ client: own.client, prefix: "command@own-", sources: undefined, recovery },
        handlers: {
          ...sources.handlersFor({ journals: false, own: { recovery, link: own } }),
          ...recovery.handlers,
        },
      }),
    ]);
    if (!life.alive) return;
    sources.start();
    for (const { heartbeats } of talks) heartbeats.start();
    this.#process = { life, exports, sources, recovery, talks };
    this.#starting = undefined;
  }

  /** SIGKILL. */
  kill(): void {
    const process = this.#process;
    const life = process?.life ?? this.#starting;
    this.#process = undefined;
    this.#starting = undefined;
    life?.kill();
    process?.exports.die();
    process?.recovery.die();
  }

  lose(): void {
    this.kill();
    this.#lost = true;
    for (const { vms } of this.machines) vms.running.clear();
  }

  /** By hand, while it is stopped: the disks that a committed move closed for good are to be protected anew. */
  openByHand(vpgName: string): void {
    this.#state.edit(`source-${vpgName}`, { closed: null });
  }

  /** SIGTERM: the clean stop, as far as it gets before somebody kills it. */
  async stop(): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    const { life, talks, sources } = process;
    const stopped = (async () => {
      for (const { heartbeats, commands } of talks) {
        await heartbeats.close();
        await commands.close();
      }
      await sources.close();
    })();
    if ((await life.race(stopped)) !== "killed" && this.#process === process) this.kill();
  }

  async #talk(life: Life, { client, prefix, handlers, sources, recovery }: TalkParts): Promise<Talk> {
    const { random, log } = this.#options;
    const clock = mortalClock(this.clock, life);
    const state = mortal(this.#state, life);
    const commands = await CommandRunner.load({ handlers, state, prefix, site: client, clock, log });
    const processId = newId(clock, random);
    const heartbeats = new HeartbeatLoop({
      ...{ site: client, clock, log },
      sample: () => ({
        ...{ version, sampledAt: clock.now(), processId },
        streams: [...(sources?.streams() ?? [])],
        attachedOperations: [...(recovery?.attachedOperations() ?? [])],
      }),
      answered: (answer, number, sent) => {
        sources?.told(answer.streams, sent.streams);
        commands.received(answer.commands, number);
      },
      busy: () => commands.busy || sources?.busy === true,
    });
    return { client, commands, heartbeats };
  }

  /** Whose VMs its hooks find: of the disks that followed all others here. */
  get #hooked(): Machine | undefined {
    return this.machines.filter((machine) => machine.operationId === undefined || this.#isCaptured(machine)).at(-1);
  }

  #isCaptured({ operationId }: Machine): boolean {
    return operationId !== undefined && (this.recovered.folders.get(operationId)?.terms.size ?? 0) > 0;
  }

  #host(
    life: Life,
    exports: SimExports,
    sites: readonly { readonly address: { readonly url: string }; readonly client: SiteClient }[],
  ): Partial<SourceHost> {
    const clock = mortalClock(this.clock, life);
    const { random, trueNow, configured } = this.#options;
    const diskAt = (path: string): SimDisk => {
      const promoted = [...this.recovered.folders].find(([id]) => path.startsWith(`/${id}/`))?.[1].machine;
      const disk = (promoted ?? configured?.machine())?.disks.find(({ name }) => path.endsWith(`/${name}`));
      if (disk === undefined) throw new TypeError(`no disk ${path}`);
      return disk;
    };
    return {
      openDisk: ({ path }) => mortal(diskAt(path).open(), life),
      identifyDisk: async (disk) => ({ ...disk, identity: disk.path, modifiedAt: `${diskAt(disk.path).changes}` }),
      lockDisk: () => ({ release: () => undefined }),
      openServer: () => exports,
      openShipper: ({ url }, place, events) => {
        const client = sites.find(({ address }) => address.url === url)?.client;
        if (client === undefined) throw new TypeError(`no site at ${url}`);
        return new SimShipper(client, place, events, { clock, random });
      },
      openHasher: () => new SimHasher(),
      runHook: async ([action = "", vmName = ""]) => {
        await clock.sleep(200);
        const vms = this.#hooked?.vms;
        const runs = vms?.running.has(vmName) === true;
        if (action === "boot") vms?.running.add(vmName);
        if ((action === "shutdown" || action === "kill") && vms !== undefined) {
          vms.running.delete(vmName);
          vms.stoppedAt = trueNow();
        }
        return { exitStatus: action === "status" && !runs ? 3 : 0, timedOut: false, output: "" };
      },
    };
  }
}
