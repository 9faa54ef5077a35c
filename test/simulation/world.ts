import { createHash } from "node:crypto";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { FarshoreError } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import { createToken } from "#core/protection/tokens.ts";
import type { StartWithoutGrant } from "../../gateway/config.ts";
import { DiskError } from "../../gateway/disk/block-device.ts";
import type { SourceHost } from "../../gateway/source/source-host.ts";
import { operator } from "../kit/site.ts";
import { VirtualClock } from "../kit/virtual-clock.ts";
import { Coverage } from "./coverage.ts";
import { countLarge } from "./large-journals.ts";
import { gatewayBufferBytes, scrubBytesPerSecond, syncBytesPerSecond } from "./limits.ts";
import { type Answered, Link } from "./link.ts";
import { Machine } from "./machine.ts";
import { GuestLog } from "./oracle/guest-log.ts";
import { People } from "./people.ts";
import { Protection } from "./protection.ts";
import { type AttachBody, type Images, RecoveredDisks } from "./recovered-disks.ts";
import { type FellBack, SimDisk } from "./sim-disk.ts";
import { SimGateway, type SimGatewayOptions, type SiteWire } from "./sim-gateway.ts";
import { SimPeers } from "./sim-peers.ts";
import { SimSite, type WrapSite } from "./sim-site.ts";
import { SkewedClock } from "./skewed-clock.ts";
import { Trace } from "./trace.ts";
import { Violation } from "./violation.ts";
import { diskNumber, simVolumes, volumeNames } from "./volumes.ts";

/** A bug put in on purpose; nothing by default. */
export interface Planted {
  readonly site?: WrapSite;
  readonly host?: (host: Partial<SourceHost>) => Partial<SourceHost>;
  readonly startWithoutGrant?: StartWithoutGrant;
}

/** An answer that a gateway heard, and from whom. */
export interface Heard extends Answered {
  readonly gateway: string;
  readonly site: SimSite;
}

type Fields = Readonly<Record<string, unknown>>;

let worlds = 0;

/** Two sites, their gateways, VMs, disks, networks and clocks, in one process and on one virtual clock: one seed, one world. */
export class World {
  readonly seed: number;
  readonly clock = new VirtualClock();
  readonly trace: Trace;
  readonly coverage = new Coverage();
  readonly people: People;
  readonly sites: readonly SimSite[];
  readonly protections: readonly Protection[];
  /** Between the sites. */
  readonly peerLinks: Link[] = [];
  /** What gateways were told since the invariants were looked at. */
  readonly answered: Heard[] = [];
  /** VPGs whose journals somebody has given a limit. */
  readonly limited = new Set<Id>();
  /** Views that people have open: until when their checkpoint is leased, in true time. */
  readonly leases = new Map<string, number>();
  readonly #started: number;
  readonly #number: number;
  readonly #planted: Planted;
  #lastWrite = 0;
  #machines = 0;
  #violation: Violation | undefined;

  private constructor(seed: number, planted: Planted, tell: (line: string) => void) {
    this.seed = seed;
    this.#planted = planted;
    this.#started = this.clock.now();
    this.#number = worlds;
    worlds += 1;
    this.trace = new Trace(() => this.clock.now() - this.#started, tell);
    this.people = new People(this);
    const berlin: SimSite = this.#site("berlin", () => paris);
    const paris: SimSite = this.#site("paris", () => berlin);
    this.sites = [berlin, paris];
    this.protections = [this.#protection("shop", berlin, paris), this.#protection("bank", paris, berlin)];
  }

  /** A world in which both VPGs are protected and their sources run. `tell` hears of everything that happens in it. */
  static async begin(
    seed: number,
    planted: Planted = {},
    tell: (line: string) => void = () => undefined,
  ): Promise<World> {
    countLarge();
    const world = new World(seed, planted, tell);
    for (const site of world.sites) {
      await site.start();
      await world.people.register(site);
    }
    for (const site of world.sites) {
      for (const other of world.sites) if (other !== site) await world.people.introduce(site, other);
    }
    for (const protection of world.protections) await world.#protect(protection);
    return world;
  }

  /** Ms since the world began. */
  get elapsedMs(): number {
    return this.clock.now() - this.#started;
  }

  /** Every network there is. */
  get links(): readonly Link[] {
    const gateways = this.protections.flatMap((protection) => protection.gateways);
    return [...gateways.flatMap(({ own, remote }) => [own.link, remote.link]), ...this.peerLinks];
  }

  /** A stream of its own for each name. */
  random(name: string): SeededRandom {
    return new SeededRandom(createHash("sha256").update(`${this.seed} ${name}`).digest().readUInt32LE(0));
  }

  nextWrite(): number {
    this.#lastWrite += 1;
    return this.#lastWrite;
  }

  /** What goes on beside everything else; a named error is its affair, any other a fault of the program. */
  background(what: string, work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (isForeseen(error)) this.trace.add(`${what}: ${error.name}`);
      else this.fault(what, error);
    });
  }

  /** After so many milliseconds. */
  later(ms: number, what: string, act: () => unknown): void {
    this.background(
      what,
      this.clock.sleep(ms).then(() => act()),
    );
  }

  fault(what: string, error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.violated(new Violation("program fault", `${what}: ${text}`));
  }

  violated(violation: Violation): void {
    this.#violation ??= violation;
  }

  /** Throws what was found wrong since. */
  throwIfViolated(): void {
    if (this.#violation !== undefined) throw this.#violation;
  }

  close(): void {
    for (const { gateways } of this.protections) for (const gateway of gateways) gateway.kill();
    for (const site of this.sites) site.close();
  }

  async #protect(protection: Protection): Promise<void> {
    for (const { name, own, remote } of protection.gateways) {
      for (const wire of [own, remote]) {
        wire.token = (await createToken(wire.site.seen(), { name, role: "gateway" }, operator)).token;
      }
    }
    await this.people.protect(protection);
    await protection.recovery.start();
    await protection.source.start();
  }

  #site(name: string, other: () => SimSite): SimSite {
    const link = new Link(
      this.clock,
      this.random(`peers of ${name}`),
      (request) => other().serve(request),
      ({ method, path, status, again }) =>
        this.trace.detail(`${name} ${again ? "again " : ""}${method} ${path} ${status}`),
    );
    this.peerLinks.push(link);
    return new SimSite({
      name,
      clock: this.clock,
      random: this.random(`site ${name}`),
      faultSeed: this.random(`faults ${name}`).uint32(),
      databaseName: `simulation-${process.pid}-${this.#number}-${name}`,
      log: this.#log(name),
      notify: { publish: async ({ kind }) => this.trace.add(`${name} tells people: ${kind}`) },
      peers: new SimPeers(link),
      wrap: this.#planted.site ?? ((site) => site),
    });
  }

  #protection(name: string, home: SimSite, away: SimSite): Protection {
    const paths = volumeNames.map((volume) => ({
      ...{ vmName: "vm", name: volume, path: `/${name}/${volume}`, sectorBytes: 4096 as const },
    }));
    const clock = new SkewedClock(this.clock);
    const log = new GuestLog();
    const zeros = volumeNames.map((volume) => {
      const { sizeBytes } = simVolumes.find((each) => each.name === volume) ?? { sizeBytes: extraBytes };
      return { name: volume, image: new Uint8Array(sizeBytes) };
    });
    const exports = () => protection.source.exports;
    const disks = this.#disks(name, zeros, log);
    const first = new Machine({ vpgName: name, operationId: undefined, disks, log, clock, exports }, this.#machines);
    this.#machines += 1;
    first.vms.running.add("vm");
    const named = () => paths.filter((volume) => protection.file.has(volume.name));
    const vpg = () => ({ name, socket: undefined, listen: undefined, barrier: undefined, volumes: named() });
    const source = this.#gateway(`${name}-source`, away, home, clock, { configured: { vpg, machine: () => first } });
    const recovery = this.#gateway(`${name}-recovery`, home, away, new SkewedClock(this.clock));
    const protection = new Protection({ name, home, away, source, recovery });
    return protection;
  }

  #disks(what: string, images: readonly { readonly name: string; readonly image: Uint8Array }[], log: GuestLog) {
    return images.map(({ name, image }) => {
      const volume = diskNumber(name);
      const fellBack: FellBack = (offset, shows) =>
        log.fellBack(this.nextWrite(), volume, offset, shows, this.clock.now());
      return new SimDisk({ volume, name }, image, this.clock, this.random(`disk ${what} ${name}`), fellBack);
    });
  }

  /** What an operation recovered: its guests begin with what they found on it. */
  #recover(gateway: SimGateway, { operationId, vpgName }: AttachBody, images: Images): Machine {
    const log = new GuestLog(new Map([...images].map(([name, image]) => [diskNumber(name), image])));
    const named = [...images].map(([name, image]) => ({ name, image }));
    const disks = this.#disks(`${operationId} ${this.#machines}`, named, log);
    const exports = () => gateway.recovery?.exportsOf(operationId);
    const { clock } = gateway;
    const machine = new Machine({ vpgName, operationId, disks, log, clock, exports }, this.#machines);
    this.#machines += 1;
    return machine;
  }

  #gateway(
    name: string,
    ownSite: SimSite,
    remoteSite: SimSite,
    clock: SkewedClock,
    more: Pick<SimGatewayOptions, "configured"> = {},
  ): SimGateway {
    const wire = (what: string, site: SimSite): SiteWire => {
      const noted = (answer: Answered): void => {
        const { method, path, status, again } = answer;
        this.trace.detail(`${name} ${again ? "again " : ""}${method} ${path} ${status}`);
        if (!again && status < 300) this.answered.push({ ...answer, gateway: name, site });
      };
      const link = new Link(this.clock, this.random(`${what} link ${name}`), (ask) => site.serve(ask), noted);
      return { site, link, token: "" };
    };
    return new SimGateway({
      name,
      own: wire("own", ownSite),
      remote: wire("remote", remoteSite),
      clock,
      trueNow: () => this.clock.now(),
      random: this.random(`gateway ${name}`),
      log: this.#log(name),
      crashed: (error) => this.fault(`${name} crashed`, error),
      capture: {
        ...{ bufferBytes: gatewayBufferBytes, syncBytesPerSecond, scrubBytesPerSecond, drainMs: 10_000, throttle: [] },
        startWithoutGrant: this.#planted.startWithoutGrant ?? ({ kind: "never" } as const),
        onFenced: "read-only" as const,
      },
      recovered: new RecoveredDisks(),
      recover: (gateway, body, images) => this.#recover(gateway, body, images),
      wrapHost: this.#planted.host ?? ((host) => host),
      ...more,
    });
  }

  #log(part: string): Log {
    const quiet = (): void => undefined;
    const tell = (event: string, fields: Fields = {}): void => {
      const errors = Object.values(fields).filter((value) => value instanceof Error);
      this.trace.detail([`${part} ${event}`, ...errors.map(({ name, message }) => `${name}: ${message}`)].join(": "));
    };
    const look = (event: string, fields: Fields = {}): void => {
      tell(event, fields);
      for (const value of Object.values(fields)) {
        for (const error of value instanceof AggregateError ? value.errors : [value]) {
          if (error instanceof Error && !isForeseen(error)) this.fault(`${part} ${event}`, error);
        }
      }
    };
    return { debug: quiet, info: tell, warn: look, error: look };
  }
}

/** Of the volume that comes and goes. */
const extraBytes = 192 * 1024;

/** Errors with names of their own are what the world is full of. */
const isForeseen = (error: unknown): error is Error => error instanceof FarshoreError || error instanceof DiskError;
