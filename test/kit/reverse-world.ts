import { randomUUID } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { EmbeddedWorkflows } from "#adapters/embedded/workflows/interpreter.ts";
import { FaultyPeers, type PeerFault } from "#adapters/faulty/faulty-peers.ts";
import { Transient } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { Objects, PeerRequest, Peers, Table } from "#core/ports.ts";
import type { Command, CommandReport } from "#core/protection/command.ts";
import { pendingCommands, reportCommand } from "#core/protection/commands.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import type { Operation, ReverseOptions } from "#core/protection/operation.ts";
import { addPeer } from "#core/protection/peers.ts";
import { rebuildTable } from "#core/protection/rebuild.ts";
import { mintTerm } from "#core/protection/terms.ts";
import { createToken } from "#core/protection/tokens.ts";
import { findVpg, updateVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import { executionName, findOperation, hasEnded } from "#core/recovery/operation-store.ts";
import { reconcile } from "#core/recovery/reconcile.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import type { Caller, Site } from "#core/site.ts";
import { invokeTask, machines } from "../../cli/site/machines.ts";
import { protectAt, shop, siteOf } from "./failover-site.ts";
import type { Watcher } from "./failover-world.ts";
import { lossy } from "./lossy-workflows.ts";
import { Life, mortal, mortalClock } from "./mortal.ts";
import { invokePeerRoute } from "./peer-route.ts";
import { SeededRandom } from "./seeded-random.ts";
import { openAsk, operator, silentLog } from "./site.ts";
import { Stream } from "./stream.ts";
import { VirtualClock } from "./virtual-clock.ts";

export type Side = "a" | "b";
const sides = ["a", "b"] as const;
const siteIds = { a: idSchema.parse("01k3s1te00000000000000000a"), b: idSchema.parse("01k3s1te000000000000000001") };
const siteNames = { a: "berlin", b: "recovery" };
export const reverseId: Id = idSchema.parse("01k3s1te0000000000000000zy");
/** Of the failover that brought the VPG to b. */
export const failoverId: Id = idSchema.parse("01k3s1te0000000000000000zx");

export interface ReverseDeed {
  readonly when: (operation: Operation, world: ReverseWorld) => boolean;
  /** Done again when the site dies under it. */
  readonly act: (site: Site, world: ReverseWorld) => Promise<unknown>;
}

export interface ReverseOptionsOfTest {
  readonly options?: Partial<ReverseOptions>;
  readonly peerFault?: (request: PeerRequest) => PeerFault | undefined;
  readonly deeds?: readonly ReverseDeed[];
  /** Kills a site right after this call of its bucket or table came back, counted from 1. */
  readonly killAt?: { readonly side: Side; readonly call: number };
  /** Kills b right after this event of the execution. */
  readonly killAtEvent?: number;
  /** Commands that fail at their gateway, by kind, so often. */
  readonly fail?: Readonly<Record<string, number>>;
  /** The old gateway is not there. */
  readonly gatewayGone?: boolean;
  readonly document?: unknown;
  readonly watcher?: (clock: VirtualClock) => Watcher;
  /** The site as this function of functions/ sees it. */
  readonly seenBy?: (functionName: string, site: Site) => Site;
  readonly faults?: Readonly<Record<string, readonly string[]>>;
  /** Milliseconds that b's gateway captures, saying so all the time, before it is done. */
  readonly captureMs?: number;
  /** No wake of a gateway's report arrives. */
  readonly losesWakes?: boolean;
  /** The first checkpoint at the peer comes so long after the capture. */
  readonly checkpointAfterMs?: number;
}

interface Durable {
  readonly objects: Objects;
  readonly table: Table;
}

const turnsMax = 3000;
const nobody: Watcher = { call: (_name, _payload, work) => work(), watch: (workflows) => workflows };

/** Two sites after a failover to b, their gateways and the wire between them, on one virtual clock; each site may be killed. */
export class ReverseWorld {
  readonly clock = new VirtualClock();
  readonly #options: ReverseOptionsOfTest;
  readonly #durable: Readonly<Record<Side, Durable>>;
  readonly #file = `file:${randomUUID()}?mode=memory&cache=shared`;
  readonly #keeper = new DatabaseSync(this.#file);
  readonly #lives = { a: new Life(), b: new Life() };
  readonly #watcher: Watcher;
  readonly #fail: Map<string, number>;
  readonly #faults: Map<string, string[]>;
  readonly #ended = new Map<string, CommandReport>();
  readonly #begun = new Map<string, number>();
  readonly #peers: FaultyPeers;
  #sites: Partial<Record<Side, Site>> = {};
  #workflows: EmbeddedWorkflows | undefined;
  #deeds: readonly ReverseDeed[];
  #busy = 0;
  #captured: Stream | undefined;
  #late: { readonly at: number; readonly batch: ReturnType<Stream["checkpoint"]> } | undefined;
  #reconciledAt = 0;
  vpg: VpgRecord | undefined;
  readonly calls = { a: 0, b: 0 };
  readonly kills = { a: 0, b: 0 };
  events = 0;
  readonly requests: PeerRequest[] = [];
  readonly effects = new Map<string, number>();
  /** The old disks take writes. */
  oldDisksOpen = true;
  readonly violations: string[] = [];
  #callers: Partial<Record<"ga" | "gb" | "peer", Caller>> = {};

  constructor(options: ReverseOptionsOfTest = {}) {
    this.#options = options;
    const durable = (): Durable => ({ objects: new MemoryObjects(), table: new SqliteTable(":memory:") });
    this.#durable = { a: durable(), b: durable() };
    this.#watcher = options.watcher?.(this.clock) ?? nobody;
    this.#deeds = options.deeds ?? [];
    this.#peers = new FaultyPeers(this.#wire(), (request) => options.peerFault?.(request));
    this.#fail = new Map(Object.entries(options.fail ?? {}));
    this.#faults = new Map(Object.entries(options.faults ?? {}).map(([at, names]) => [at, [...names]]));
  }

  /** The site without kills, for setting up and looking. */
  site(side: Side): Site {
    return {
      ...siteOf({ ...this.#durable[side], clock: this.clock }),
      siteId: siteIds[side],
      siteName: siteNames[side],
    };
  }

  live(side: Side): Site {
    const site = this.#sites[side];
    if (site === undefined) throw new Error(`${side} does not run`);
    return site;
  }

  get workflows(): EmbeddedWorkflows {
    if (this.#workflows === undefined) throw new Error("b does not run");
    return this.#workflows;
  }

  /** The VPG protected at b, and failed over to it; both sites know each other, and each other's gateways. */
  async prepare(): Promise<void> {
    const made = await protectAt({ ...this.#durable.b, clock: this.clock }, shop);
    const b = this.site("b");
    const { vpgId, definition } = made.vpg;
    await mintTerm(b, made.vpg, { n: 2, runs: siteIds.b, journal: null, fork: [], operationId: failoverId });
    const before = (await findVpg(b, vpgId)) ?? made.vpg;
    this.vpg = await updateVpg(b, before, { term: 2, role: "Runs", needsConfiguration: true });
    const a = this.site("a");
    const peer = (name: string, siteId: Id) => ({
      name,
      siteId,
      url: `https://${name}.example`,
      region: null,
      journal: true,
    });
    await addPeer(b, peer(siteNames.a, siteIds.a), operator);
    await addPeer(a, peer(siteNames.b, siteIds.b), operator);
    const gateway = async (name: string): Promise<Caller> => {
      const { gatewayId } = await createToken(a, { name, role: "gateway" }, operator);
      return { name, role: "gateway", gatewayId };
    };
    const ga = await gateway(definition.sourceGatewayName);
    const gb = await gateway(definition.recoveryGatewayName ?? "");
    await createToken(a, { name: siteNames.b, role: "peer" }, operator);
    this.#callers = { ga, gb, peer: { name: siteNames.b, role: "peer", gatewayId: null } };
  }

  /** The VPG as a site rebuilt from its bucket alone has it. */
  async rebuilt(side: Side): Promise<VpgRecord | undefined> {
    const bare: Site = { ...this.site(side), table: new SqliteTable(":memory:") };
    await rebuildTable(bare);
    return findVpg(bare, this.#vpgId());
  }

  operation(): Promise<Operation | undefined> {
    return findOperation(this.site("b"), reverseId);
  }

  async ended(): Promise<boolean> {
    const operation = await this.operation();
    if (operation === undefined || !hasEnded(operation)) return false;
    const found = await this.workflows.describe(operation.kind, executionName(operation));
    return found !== undefined && found.status !== "RUNNING";
  }

  /** Lives on until the operation has ended, or `stop` says so. */
  async run(stop: () => Promise<boolean> = () => this.ended()): Promise<void> {
    for (let turn = 0; turn < turnsMax; turn += 1) {
      for (const side of sides)
        if (this.#sites[side] === undefined || !this.#lives[side].alive) await this.#start(side);
      do await this.clock.settle();
      while (this.#busy > 0 && this.#lives.b.alive);
      if (sides.some((side) => !this.#lives[side].alive)) continue;
      if ((await this.#people()) || (await this.#gateways())) continue;
      await this.#reconcile();
      if (await stop()) return;
      void this.clock.sleep(60_000);
      if (!(await this.clock.step())) throw new Error("the world hangs");
    }
    const operation = await this.operation();
    throw new Error(`the world does not come to an end: ${operation?.phase} ${JSON.stringify(operation?.steps)}`);
  }

  /** What was on its way for long comes now, after everything. */
  async late(): Promise<void> {
    this.#lives.a = new Life();
    this.#sites = { ...this.#sites, a: this.site("a") };
    await this.#peers.flush();
  }

  close(): void {
    for (const side of sides) this.#kill(side);
    if (this.#keeper.isOpen) this.#keeper.close();
  }

  #kill(side: Side): void {
    this.#lives[side].kill(() => (side === "b" ? void this.#workflows?.close() : undefined));
  }

  async #start(side: Side): Promise<void> {
    if (this.#sites[side] !== undefined) this.kills[side] += 1;
    const life = new Life();
    this.#lives[side] = life;
    const { objects, table } = this.#durable[side];
    const onCall = (): void => {
      this.calls[side] += 1;
      const { killAt } = this.#options;
      if (killAt?.side === side && killAt.call === this.calls[side] && life.alive) this.#kill(side);
    };
    const base: Site = {
      ...this.site(side),
      ...{
        objects: mortal(objects, life, onCall),
        table: mortal(table, life, onCall),
        clock: mortalClock(this.clock, life),
      },
      peers: this.#peers,
    };
    if (side === "a") {
      this.#sites = { ...this.#sites, a: base };
      return;
    }
    this.#busy = 0;
    const { document } = this.#options;
    const kind = "reverse-protection";
    const workflows = new EmbeddedWorkflows({
      file: this.#file,
      clock: mortalClock(this.clock, life),
      random: new SeededRandom(this.kills.b + 1),
      log: silentLog,
      machines:
        document === undefined ? machines : { ...machines, [kind]: { ...machines[kind], definition: document } },
      invoke: (name, payload) =>
        this.#watcher.call(name, payload, async () => {
          this.#busy += 1;
          try {
            this.#fault(name, payload);
            return await invokeTask(this.#seen(name, "b"), name, payload);
          } finally {
            this.#busy -= 1;
          }
        }),
      onTransition: () => {
        this.events += 1;
        if (this.#options.killAtEvent !== this.events) return;
        life.kill();
        throw new Error("killed");
      },
    });
    this.#workflows = workflows;
    this.#sites = { ...this.#sites, b: { ...base, workflows: mortal(this.#watcher.watch(workflows), life) } };
    await workflows.resume();
  }

  #seen(functionName: string, side: Side): Site {
    return this.#options.seenBy?.(functionName, this.live(side)) ?? this.live(side);
  }

  #fault(name: string, payload: unknown): void {
    const step = typeof payload === "object" && payload !== null && "step" in payload ? `:${payload.step}` : "";
    const error = this.#faults.get(`${name}${step}`)?.shift();
    if (error !== undefined) throw Object.assign(new Error(`injected at ${name}${step}`), { name: error });
  }

  /** From b to a, through the very routes; who dies meanwhile doesn't answer. */
  #wire(): Peers {
    return {
      ask: async (_peer, request) => {
        this.requests.push(request);
        const answer = await this.#lives.a.race(
          invokePeerRoute(this.#seen("site-api", "a"), this.#caller("peer"), request),
        );
        if (answer === "killed") throw new Transient("the peer died over it");
        return answer;
      },
    };
  }

  #caller(name: "ga" | "gb" | "peer"): Caller {
    const caller = this.#callers[name];
    if (caller === undefined) throw new Error("prepare the world first");
    return caller;
  }

  async #people(): Promise<boolean> {
    const b = this.#seen("site-api", "b");
    const operation = await this.operation();
    const [deed, ...rest] = this.#deeds;
    if (operation !== undefined && (deed === undefined || !deed.when(operation, this))) return false;
    const options = { gatewayLost: false, force: false, ...this.#options.options };
    const { vpg } = this;
    if (vpg === undefined) throw new Error("prepare the world first");
    const ask = { kind: "reverse-protection" as const, options, requestId: reverseId };
    const act = operation === undefined ? startOperation(b, operator, vpg, ask) : deed?.act(b, this);
    const done = await this.#lives.b.race(Promise.resolve(act).then(() => "done" as const));
    if (done === "killed" || !this.#lives.b.alive) return true;
    if (operation !== undefined) this.#deeds = rest;
    return true;
  }

  /** Both gateways take up what their sites ask, and the running one ships. */
  async #gateways(): Promise<boolean> {
    const definition = this.vpg?.definition;
    if (definition === undefined) return false;
    const { ga, gb } = this.#callers;
    const turns: readonly (readonly [Side, Id | null | undefined])[] = [
      ["b", definition.recoveryGatewayId],
      ["b", definition.sourceGatewayId],
      ["a", this.#options.gatewayGone === true ? null : ga?.gatewayId],
      ["a", gb?.gatewayId],
    ];
    let reported = false;
    for (const [side, gatewayId] of turns) {
      if (gatewayId == null) continue;
      const life = this.#lives[side];
      const done = await life.race(this.#turn(side, gatewayId).catch((error: unknown) => ({ error })));
      if (done === "killed" || !life.alive) return true;
      if (typeof done === "object") throw done.error;
      reported ||= done;
    }
    if (this.#late !== undefined && this.#late.at <= this.clock.now()) {
      if (!(await this.#ship(this.#late.batch))) return true;
      this.#late = undefined;
    }
    return reported;
  }

  async #turn(side: Side, gatewayId: Id): Promise<boolean> {
    const seen = this.#seen("gateway-api", side);
    const site = { ...seen, workflows: lossy(seen.workflows, () => this.#options.losesWakes === true) };
    const caller = { name: "gateway", role: "gateway" as const, gatewayId };
    let reported = false;
    for (const command of await pendingCommands(site, gatewayId)) {
      if (this.#isAt(command)) {
        const progress = { done: 0, total: 1, unit: "volumes" };
        await reportCommand(site, caller, command.commandId, { state: "running", progress });
        continue;
      }
      const report = this.#ended.get(command.commandId) ?? (await this.#do(command));
      if (report === undefined) continue;
      this.#ended.set(command.commandId, report);
      await reportCommand(site, caller, command.commandId, report);
      reported = true;
    }
    return reported;
  }

  #isAt({ commandId, body }: Command): boolean {
    if (body.kind !== "protect-volumes") return false;
    const now = this.clock.now();
    const begunAt = this.#begun.get(commandId) ?? now;
    this.#begun.set(commandId, begunAt);
    return now < begunAt + (this.#options.captureMs ?? 0);
  }

  async #do({ commandId, body }: Command): Promise<CommandReport | undefined> {
    const failures = this.#fail.get(body.kind) ?? 0;
    if (failures > 0) {
      this.#fail.set(body.kind, failures - 1);
      return { state: "failed", error: { name: "CommandFailed", message: `no ${body.kind} today` } };
    }
    this.effects.set(commandId, (this.effects.get(commandId) ?? 0) + 1);
    switch (body.kind) {
      case "close-volumes":
        this.oldDisksOpen = false;
        return { state: "done", result: { final: null } };
      case "seed-volumes":
        return this.#seed();
      case "protect-volumes":
        if (body.promotedBy !== failoverId) this.violations.push(`captures disks of ${body.promotedBy}`);
        if (this.oldDisksOpen && this.#options.options?.gatewayLost !== true)
          this.violations.push("two sites' disks take writes");
        return this.#capture(body.term);
      default:
        throw new Error(`${body.kind} is no part of reverse protection`);
    }
  }

  /** A session of the old disks that never makes a checkpoint. */
  async #seed(): Promise<CommandReport | undefined> {
    const a = this.#seen("gateway-api", "a");
    const opened = await this.#asking(() => openSession(a, this.#caller("ga"), this.#openAsk("seed", seedNonce)));
    if (opened === undefined) return undefined;
    const stream = new Stream(this.#vpgId(), opened);
    const write = { volume: stream.volumes[0]?.volume ?? 1, offset: 0, bytes: new Uint8Array(512).fill(1) };
    const batch = stream.next([write]);
    if (
      (await this.#asking(() => ingestBatch(this.#seen("ingest-batch", "a"), this.#caller("ga"), batch))) === undefined
    )
      return undefined;
    return { state: "done", result: { hashedBytes: 80 * 2 ** 20, differingBytes: 512, shippedBytes: 512 } };
  }

  async #capture(term: number): Promise<CommandReport | undefined> {
    const a = this.#seen("gateway-api", "a");
    const opened = await this.#asking(() => openSession(a, this.#caller("gb"), this.#openAsk("capture", captureNonce)));
    if (opened === undefined) return undefined;
    if (opened.term !== term) this.violations.push(`a session of term ${opened.term}, not ${term}`);
    const stream = this.#captured ?? new Stream(this.#vpgId(), opened);
    this.#captured = stream;
    const copy = stream.clone();
    if (!(await this.#ship(copy.synced()))) return undefined;
    const batch = copy.checkpoint(this.clock.now());
    const { checkpointAfterMs } = this.#options;
    if (checkpointAfterMs !== undefined) this.#late = { at: this.clock.now() + checkpointAfterMs, batch };
    else if (!(await this.#ship(batch))) return undefined;
    return { state: "done", result: { session: opened.session } };
  }

  /** Sends a batch of the running gateway's to a; false when a died over it. */
  async #ship(batch: ReturnType<Stream["checkpoint"]>): Promise<boolean> {
    const sent = await this.#asking(() => ingestBatch(this.#seen("ingest-batch", "a"), this.#caller("gb"), batch));
    return sent !== undefined;
  }

  /** What a gateway asks of a, which may die over it; undefined then. */
  async #asking<T>(ask: () => Promise<T>): Promise<T | undefined> {
    const answer = await this.#lives.a.race(ask());
    return answer === "killed" ? undefined : answer;
  }

  #openAsk(purpose: "seed" | "capture", nonce: Id) {
    const volumes = (this.vpg?.definition.vms ?? []).flatMap((vm) =>
      vm.volumes.map(({ name, sizeBytes, sectorBytes }) => ({ vmName: vm.name, name, sizeBytes, sectorBytes })),
    );
    const ask = openAsk(this.site("a"), this.#vpgId(), { volumes, nonce });
    return purpose === "seed" ? { ...ask, purpose } : ask;
  }

  #vpgId(): Id {
    if (this.vpg === undefined) throw new Error("prepare the world first");
    return this.vpg.vpgId;
  }

  async #reconcile(): Promise<void> {
    const now = this.clock.now();
    if (now - this.#reconciledAt < 60_000) return;
    this.#reconciledAt = now;
    for (const side of sides) {
      const done = await this.#lives[side].race(reconcile(this.#seen("reconciler", side)).then(() => "done" as const));
      if (done === "killed") return;
    }
  }
}

const seedNonce = idSchema.parse("01k3s1te0000000000000000n1");
const captureNonce = idSchema.parse("01k3s1te0000000000000000n2");
