import { createHash } from "node:crypto";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { FarshoreError } from "#core/errors.ts";
import type { Log } from "#core/ports.ts";
import { createToken } from "#core/protection/tokens.ts";
import type { StartWithoutGrant } from "../../gateway/config.ts";
import { DiskError } from "../../gateway/disk/block-device.ts";
import type { SourceHost } from "../../gateway/source/source-host.ts";
import { operator } from "../kit/site.ts";
import { VirtualClock } from "../kit/virtual-clock.ts";
import { Coverage } from "./coverage.ts";
import { gatewayBufferBytes, syncBytesPerSecond } from "./limits.ts";
import { type Answered, Link } from "./link.ts";
import { GuestLog } from "./oracle/guest-log.ts";
import { People } from "./people.ts";
import { Protection } from "./protection.ts";
import { RecoveredDisks } from "./recovered-disks.ts";
import { SimDisk } from "./sim-disk.ts";
import { SimGateway } from "./sim-gateway.ts";
import { SimSite, type WrapSite } from "./sim-site.ts";
import { SkewedClock } from "./skewed-clock.ts";
import { Trace } from "./trace.ts";
import { Violation } from "./violation.ts";
import { simVolumes } from "./volumes.ts";

/** A bug put in on purpose; nothing by default. */
export interface Planted {
  readonly site?: WrapSite;
  readonly host?: (host: Partial<SourceHost>) => Partial<SourceHost>;
  readonly startWithoutGrant?: StartWithoutGrant;
}

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
  /** What gateways were told since the invariants were looked at. */
  readonly answered: (Answered & { readonly gateway: string })[] = [];
  readonly #started: number;
  readonly #number: number;
  readonly #planted: Planted;
  #lastWrite = 0;
  #violation: Violation | undefined;

  private constructor(seed: number, planted: Planted) {
    this.seed = seed;
    this.#planted = planted;
    this.#started = this.clock.now();
    this.#number = worlds;
    worlds += 1;
    this.trace = new Trace(() => this.clock.now() - this.#started);
    this.people = new People(this);
    this.sites = ["berlin", "paris"].map((name) => this.#site(name));
    this.protections = [this.#protection("shop", 0), this.#protection("bank", 1)];
  }

  /** A world in which both VPGs are protected and their sources run. */
  static async begin(seed: number, planted: Planted = {}): Promise<World> {
    const world = new World(seed, planted);
    for (const site of world.sites) await site.start();
    for (const protection of world.protections) await world.#protect(protection);
    return world;
  }

  /** Ms since the world began. */
  get elapsedMs(): number {
    return this.clock.now() - this.#started;
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
    for (const { source, recovery } of this.protections) {
      source.kill();
      recovery.kill();
    }
    for (const site of this.sites) site.close();
  }

  async #protect(protection: Protection): Promise<void> {
    const { site, source, recovery } = protection;
    const seen = site.seen();
    for (const gateway of [source, recovery]) {
      gateway.token = (await createToken(seen, { name: gateway.name, role: "gateway" }, operator)).token;
    }
    await this.people.register(site);
    await this.people.protect(protection);
    await recovery.start();
    await source.start();
  }

  #site(name: string): SimSite {
    return new SimSite({
      name,
      clock: this.clock,
      random: this.random(`site ${name}`),
      faultSeed: this.random(`faults ${name}`).uint32(),
      databaseName: `simulation-${process.pid}-${this.#number}-${name}`,
      log: this.#log(name),
      notify: { publish: async ({ kind }) => this.trace.add(`${name} tells people: ${kind}`) },
      wrap: this.#planted.site ?? ((site) => site),
    });
  }

  #protection(name: string, at: number): Protection {
    const site = this.sites[at];
    if (site === undefined) throw new TypeError("there are two sites");
    const log = new GuestLog();
    const disks = simVolumes.map(({ sizeBytes }, index) => {
      const volume = index + 1;
      const fellBack = (offset: number, shows: number): void =>
        log.fellBack(this.nextWrite(), volume, offset, shows, this.clock.now());
      return new SimDisk(volume, sizeBytes, this.clock, this.random(`disk ${name} ${index}`), fellBack);
    });
    const vms = { running: new Set(["vm"]), stoppedAt: 0 };
    const recovered = new RecoveredDisks();
    const volumes = simVolumes.map((volume) => ({
      ...{ vmName: "vm", name: volume.name, path: `/${name}/${volume.name}`, sectorBytes: 4096 as const },
    }));
    const vpg = { name, socket: undefined, listen: undefined, barrier: undefined, volumes };
    const capture = {
      ...{ bufferBytes: gatewayBufferBytes, syncBytesPerSecond, drainMs: 10_000, throttle: [] },
      startWithoutGrant: this.#planted.startWithoutGrant ?? ({ kind: "never" } as const),
      onFenced: "read-only" as const,
    };
    const byPath = new Map(volumes.flatMap(({ path }, index) => (disks[index] ? [[path, disks[index]] as const] : [])));
    return new Protection({
      ...{ name, site, disks, vms, recovered, log },
      source: this.#gateway(`${name}-source`, site, { source: { capture, vpg, disks: byPath, vms } }),
      recovery: this.#gateway(`${name}-recovery`, site, { recovery: recovered }),
    });
  }

  #gateway(
    name: string,
    site: SimSite,
    half: Pick<ConstructorParameters<typeof SimGateway>[0], "source" | "recovery">,
  ): SimGateway {
    const noted = (answer: Answered): void => {
      const { method, path, status, again } = answer;
      this.trace.detail(`${name} ${again ? "again " : ""}${method} ${path} ${status}`);
      if (!again && status < 300) this.answered.push({ ...answer, gateway: name });
    };
    return new SimGateway({
      name,
      siteUrl: `http://${site.name}.example`,
      link: new Link(this.clock, this.random(`link ${name}`), (request) => site.serve(request), noted),
      clock: new SkewedClock(this.clock),
      trueNow: () => this.clock.now(),
      random: this.random(`gateway ${name}`),
      log: this.#log(name),
      crashed: (error) => this.fault(`${name} crashed`, error),
      wrapHost: this.#planted.host ?? ((host) => host),
      ...half,
    });
  }

  #log(part: string): Log {
    const quiet = (): void => undefined;
    const look = (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      this.trace.detail(`${part} ${event}`);
      for (const value of Object.values(fields)) {
        for (const error of value instanceof AggregateError ? value.errors : [value]) {
          if (error instanceof Error && !isForeseen(error)) this.fault(`${part} ${event}`, error);
        }
      }
    };
    return { debug: quiet, info: (event) => this.trace.detail(`${part} ${event}`), warn: look, error: look };
  }
}

/** Errors with names of their own are what the world is full of. */
const isForeseen = (error: unknown): error is Error => error instanceof FarshoreError || error instanceof DiskError;
