import { randomUUID } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import type { HistoryEvent } from "#adapters/embedded/workflows/frame.ts";
import { EmbeddedWorkflows } from "#adapters/embedded/workflows/interpreter.ts";
import type { StartOperation } from "#core/api/site-api.ts";
import { startDeltaSync } from "#core/delta-sync/start.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { batchHash } from "#core/journal/hash.ts";
import { tableFields } from "#core/json.ts";
import type { Clock, Workflows } from "#core/ports.ts";
import { toHex } from "#core/protection/batch-row.ts";
import type { Final } from "#core/protection/command.ts";
import { pendingCommands, reportCommand } from "#core/protection/commands.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { items } from "#core/protection/items.ts";
import type { Operation, Phase, SyncOptions } from "#core/protection/operation.ts";
import { hearAgain } from "#core/recovery/hear-again.ts";
import { executionName, findOperation, hasEnded } from "#core/recovery/operation-store.ts";
import { reconcile } from "#core/recovery/reconcile.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import type { Site } from "#core/site.ts";
import { invokeTask, machines } from "../../cli/site/machines.ts";
import { type ProtectedShop, siteOf } from "./failover-site.ts";
import { lossy } from "./lossy-workflows.ts";
import { jittery, Life, mortal, mortalClock } from "./mortal.ts";
import { type Behaviour, Machines, RecordingGateway } from "./recording-gateway.ts";
import { SeededRandom } from "./seeded-random.ts";
import { operator, silentLog } from "./site.ts";

/** Something that a person (or anything else outside) does once the operation is as described. */
export interface Deed {
  readonly when: Phase | ((operation: Operation, world: FailoverWorld) => boolean);
  /** Done again when the site dies under it. */
  readonly act: (site: Site, world: FailoverWorld) => Promise<unknown>;
}

/** Errors that a function throws, in order, one a call, before it does anything: `issue-command:attach-volumes` → names. */
export type Faults = Readonly<Record<string, readonly string[]>>;

export interface WorldOptions {
  readonly ask:
    | Pick<StartOperation, "kind" | "options">
    | { readonly kind: "delta-sync"; readonly options: SyncOptions };
  /** Done before anything else, to what outlives the site. */
  readonly prepare?: (shop: ProtectedShop, machines: Machines) => Promise<void>;
  readonly source?: Behaviour;
  readonly recovery?: Behaviour;
  readonly deeds?: readonly Deed[];
  readonly faults?: Faults;
  /** So many wakes from outside (reports, decisions) are lost. */
  readonly loseWakes?: number;
  /** The source's gateway ends its session without the checkpoint that a move stands on. */
  readonly unendedSession?: boolean;
  /** What the source's gateway finds when it compares its closed disks. */
  readonly differingBytes?: number;
  /** Replaces the operation's document. */
  readonly document?: unknown;
  /** The states that the execution should enter: the run throws at the first one that is not next. */
  readonly along?: readonly string[];
  /** Runs the reconciler so often. */
  readonly reconcileEveryMs?: number;
  /** Stops the execution from outside after so many events. */
  readonly stopAtEvent?: number;
  /** Looks on: every call of a function and every answer to a token goes through it. */
  readonly watcher?: (clock: Clock) => Watcher;
  /** Every call of the bucket and the table takes a while of its own, by this seed. */
  readonly jitter?: number;
  /** The site as this function of functions/ sees it: what people, gateways and the reconciler do is done by theirs. */
  readonly seenBy?: (functionName: string, site: Site) => Site;
  /** Kills the site right after this event of any history, or this call of a port came back, counted from 1. */
  readonly killAt?: { readonly event: number } | { readonly call: number };
  /** A killed site is started again so much later. Its gateways work on meanwhile. */
  readonly awayMs?: number;
}

/** What stands between an execution and its functions, and between the world and the tokens. */
export interface Watcher {
  call(name: string, payload: unknown, work: () => Promise<unknown>): Promise<unknown>;
  watch(workflows: Workflows): Workflows;
}

/** Bounds of a run, far above what any scenario takes: a changed document must not run on for ever. */
const turnsMax = 5000;
const eventsMax = 3000;

export const operationId: Id = idSchema.parse("01k3s1te0000000000000000zz");

/** A site whose process may be killed and started again, its gateways, and people, on one virtual clock. */
export class FailoverWorld {
  readonly shop: ProtectedShop;
  readonly machines = new Machines();
  readonly #options: WorldOptions;
  readonly #gateways: readonly RecordingGateway[];
  readonly #file = `file:${randomUUID()}?mode=memory&cache=shared`;
  /** The executions live in memory as long as somebody holds them open. */
  readonly #keeper = new DatabaseSync(this.#file);
  readonly #waking = new Set<number>();
  readonly #first: Deed;
  readonly #watcher: Watcher;
  #deeds: readonly Deed[];
  #faults: Map<string, string[]>;
  #lostWakes: number;
  #prepared: Promise<void> | undefined;
  #life = new Life();
  #process: { readonly workflows: EmbeddedWorkflows; readonly site: Site; readonly outside: Site } | undefined;
  #reconcileAt = 0;
  #final: Promise<Final> | undefined;
  #entered = 0;
  #astray: string | undefined;
  /** Functions under way in this life. */
  #busy = 0;
  events = 0;
  calls = 0;
  kills = 0;

  constructor(shop: ProtectedShop, options: WorldOptions) {
    this.shop = shop;
    this.#options = options;
    this.#gateways = [
      new RecordingGateway(shop.source.gatewayId, this.machines, options.source),
      new RecordingGateway(shop.recovery.gatewayId, this.machines, options.recovery),
    ];
    this.#first = {
      when: () => true,
      act: (site) => begin(site, shop, options),
    };
    this.#deeds = [this.#first, ...(options.deeds ?? [])];
    this.#faults = new Map(Object.entries(options.faults ?? {}).map(([at, names]) => [at, [...names]]));
    this.#lostWakes = options.loseWakes ?? 0;
    this.machines.differingBytes = options.differingBytes ?? 0;
    this.#watcher = options.watcher?.(shop.clock) ?? nobody;
  }

  /** The site as people and gateways reach it now. */
  get outside(): Site {
    if (this.#process === undefined) throw new Error("no process runs");
    return this.#process.outside;
  }

  get workflows(): EmbeddedWorkflows {
    if (this.#process === undefined) throw new Error("no process runs");
    return this.#process.workflows;
  }

  /** From now on so many wakes from outside are lost. */
  loseWakes(count: number): void {
    this.#lostWakes = count;
  }

  /** Adds something to be done later. */
  later(deed: Deed): void {
    this.#deeds = [...this.#deeds, deed];
  }

  operation(): Promise<Operation | undefined> {
    return findOperation(this.shop.site, operationId);
  }

  /** Lives on until the operation and its execution have ended, or `stop` says so. */
  async run(stop: () => Promise<boolean> = () => this.finished()): Promise<void> {
    await this.#beat(this.shop.clock.now());
    this.#prepared ??= this.#options.prepare?.(this.shop, this.machines);
    await this.#prepared;
    for (let turn = 0; turn < turnsMax; turn += 1) {
      if (this.#astray !== undefined) throw new Error(`the execution went astray: to ${this.#astray}`);
      if (this.#process === undefined || !this.#life.alive) await this.#start();
      do await this.shop.clock.settle();
      while (this.#busy > 0 && this.#life.alive);
      if (!this.#life.alive || (await this.#people()) || (await this.#gatewaysTurn())) continue;
      if (this.events > eventsMax) throw new Error("the world runs in circles");
      await this.#reconcile();
      if (await stop()) return;
      // Gateways are heard all the time: whoever acts at the next instant finds that they were.
      await this.#beat(this.shop.clock.nextAt);
      if (!(await this.shop.clock.step())) {
        const operation = await this.operation();
        const { phase, error } = operation ?? { phase: "none", error: null };
        throw new Error(`the world hangs: ${phase}, ${error?.message}, ${this.#deeds.length} deeds left`);
      }
    }
    throw new Error("the world does not come to an end");
  }

  /** A minute in which nothing runs: heartbeats, the reconciler, the gateways' turns. */
  async idleMinute(): Promise<void> {
    await this.#beat(this.shop.clock.now());
    await reconcile(this.outside);
    await this.#gatewaysTurn();
    await this.shop.clock.advance(60_000);
  }

  /** True when the execution has ended, whether or not the operation has. */
  async closed(): Promise<boolean> {
    const operation = await this.operation();
    if (operation === undefined) return false;
    const found = await this.workflows.describe(operation.kind, executionName(operation));
    return found !== undefined && found.status !== "RUNNING";
  }

  async finished(): Promise<boolean> {
    const operation = await this.operation();
    if (operation === undefined || !hasEnded(operation)) return false;
    return this.closed();
  }

  /** Ends everything. */
  close(): void {
    this.#kill();
    if (this.#keeper.isOpen) this.#keeper.close();
  }

  /** Kills the process and lets go of what it held. */
  #kill(): void {
    this.#life.kill(() => void this.#process?.workflows.close());
  }

  /** A new process over what is durable. */
  async #start(): Promise<void> {
    if (this.#process !== undefined) {
      this.kills += 1;
      this.#kill();
      // No gateway is heard before the site runs again.
      await this.shop.clock.advance(this.#options.awayMs ?? 0);
    }
    const life = new Life();
    this.#life = life;
    this.#busy = 0;
    const { objects, table, clock } = this.shop;
    const onCall = (): void => {
      this.calls += 1;
      const { killAt } = this.#options;
      if (killAt !== undefined && "call" in killAt && killAt.call === this.calls && life.alive) {
        this.#kill();
      }
    };
    const base: Site = {
      ...siteOf({ objects, table, clock }),
      objects: mortal(this.#jittery(objects), life, onCall),
      table: mortal(this.#jittery(table), life, onCall),
    };
    const {
      document,
      ask: { kind },
    } = this.#options;
    const workflows = new EmbeddedWorkflows({
      file: this.#file,
      clock: mortalClock(clock, life),
      random: new SeededRandom(this.kills + 1),
      log: silentLog,
      machines:
        document === undefined ? machines : { ...machines, [kind]: { ...machines[kind], definition: document } },
      invoke: (name, payload) =>
        this.#watcher.call(name, payload, async () => {
          this.#busy += 1;
          try {
            this.#fault(name, payload);
            return await invokeTask(this.#seenBy(name, site), name, payload);
          } finally {
            this.#busy -= 1;
          }
        }),
      onTransition: (_, event) => this.#transition(life, event),
    });
    const site: Site = { ...base, workflows: mortal(this.#watcher.watch(workflows), life) };
    const outside = lossy(site.workflows, () => {
      const lost = this.#lostWakes > 0;
      if (lost) this.#lostWakes -= 1;
      return lost;
    });
    this.#process = { workflows, site, outside: { ...base, workflows: outside } };
    if ((await life.race(hearAgain(base))) === "killed") return;
    await workflows.resume();
  }

  #seenBy(functionName: string, site: Site): Site {
    return this.#options.seenBy?.(functionName, site) ?? site;
  }

  #jittery<T extends object>(port: T): T {
    const { jitter } = this.#options;
    return jitter === undefined ? port : jittery(port, new SeededRandom(jitter));
  }

  #transition(life: Life, { type, state = "" }: HistoryEvent): void {
    this.events += 1;
    const { along } = this.#options;
    if (along !== undefined && type.endsWith("StateEntered")) {
      if (along[this.#entered] !== state) {
        this.#astray = state;
        life.kill();
        throw new Error("astray");
      }
      this.#entered += 1;
    }
    const { killAt, stopAtEvent } = this.#options;
    if (stopAtEvent === this.events) queueMicrotask(() => void this.#stop());
    if (killAt === undefined || !("event" in killAt) || killAt.event !== this.events) return;
    life.kill();
    throw new Error("killed");
  }

  async #stop(): Promise<void> {
    const operation = await this.operation();
    if (operation === undefined) return;
    await this.workflows.stop(operation.kind, executionName(operation), "Stopped", "from outside");
  }

  /** Throws the next error that is to happen at this call. */
  #fault(name: string, payload: unknown): void {
    const step = typeof payload === "object" && payload !== null && "step" in payload ? `:${payload.step}` : "";
    const error = this.#faults.get(`${name}${step}`)?.shift();
    if (error !== undefined) throw Object.assign(new Error(`injected at ${name}${step}`), { name: error });
  }

  async #people(): Promise<boolean> {
    const [deed, ...rest] = this.#deeds;
    if (deed === undefined) return false;
    const operation = await this.operation();
    if (operation === undefined ? deed !== this.#first : !isDue(deed, operation, this)) return false;
    const done = await this.#life.race(settled(deed.act(this.#seenBy("site-api", this.outside), this)));
    if (done === "killed" || !this.#life.alive) return true;
    this.#deeds = rest;
    if (done.error !== undefined) throw done.error;
    return true;
  }

  async #gatewaysTurn(): Promise<boolean> {
    const now = this.shop.clock.now();
    let reported = false;
    for (const gateway of this.#gateways) {
      const caller = { name: "gateway", role: "gateway" as const, gatewayId: gateway.gatewayId };
      const turn = async (): Promise<readonly number[]> => {
        const site = this.#seenBy("gateway-api", this.outside);
        const commands = await pendingCommands(site, gateway.gatewayId);
        if (commands.some(({ body }) => body.kind === "close-volumes")) await this.#endSession();
        return gateway.turn(now, commands, async (commandId, report) => {
          await reportCommand(site, caller, commandId, report);
          reported = true;
        });
      };
      const later = await this.#life.race(settled(turn()));
      if (later === "killed" || !this.#life.alive) return true;
      if (later.error !== undefined) throw later.error;
      for (const at of later.value ?? []) this.#wakeAt(at);
    }
    return reported;
  }

  /** The source's gateway ends its session by a FINAL, once; what comes of it at the site is not this site's process to lose. */
  async #endSession(): Promise<void> {
    if (this.#final !== undefined) return;
    const { shop } = this;
    const time = shop.clock.now();
    const tag = `Final of ${operationId}`;
    const hash = new Uint8Array(32);
    this.#final = (async () => {
      if (this.#options.unendedSession !== true) {
        await ingestBatch(shop.site, shop.source, shop.stream.next([], [{ kind: "marker", time, tag }], time));
      }
      const sent = shop.stream.next([], [{ kind: "final", operationId, hash }], time);
      await ingestBatch(shop.site, shop.source, sent);
      const { session, sequence } = shop.stream;
      const checkpoint = { session, sequence: sequence - 1 };
      return { session, sequence, batch: sent.batch, hash: toHex(batchHash(sent.body)), checkpoint };
    })();
    const final = await this.#final;
    this.machines.finalOf = () => final;
  }

  async #reconcile(): Promise<void> {
    const { reconcileEveryMs } = this.#options;
    const now = this.shop.clock.now();
    if (reconcileEveryMs === undefined || now < this.#reconcileAt) return;
    this.#reconcileAt = now + reconcileEveryMs;
    this.#wakeAt(this.#reconcileAt);
    const done = await this.#life.race(settled(reconcile(this.#seenBy("reconciler", this.outside))));
    if (done !== "killed" && this.#life.alive && done.error !== undefined) throw done.error;
  }

  /** Makes the clock stop there. */
  #wakeAt(at: number): void {
    if (this.#waking.has(at)) return;
    this.#waking.add(at);
    void this.shop.clock.sleep(at - this.shop.clock.now());
  }

  async #beat(now: number): Promise<void> {
    const { stream, vpg } = this.shop;
    for (const gateway of this.#gateways.filter(({ absent }) => !absent)) {
      const state = {
        ...{ vpgId: vpg.vpgId, term: 1, session: stream.session, mode: "replicating", idle: true, sync: null },
        ...{ lastSequence: stream.sequence, acknowledgedSequence: stream.sequence, backlogBytes: 0, lagMs: 0 },
        ...{ writes: 0, writtenBytes: 0, shippedBytes: 0 },
      };
      const fields = {
        ...{ lastSeenAt: now, skewMs: 0, version: "1", processId: vpg.vpgId, attachedOperations: [] },
        streams: gateway.gatewayId === this.shop.source.gatewayId ? [state] : [],
      };
      await this.shop.table.transact([{ put: items.gateway(gateway.gatewayId), fields: tableFields(fields) }]);
    }
  }
}

const nobody: Watcher = { call: (_name, _payload, work) => work(), watch: (workflows) => workflows };

interface Settled<T> {
  readonly value?: T;
  readonly error?: unknown;
}

async function settled<T>(work: Promise<T>): Promise<Settled<T>> {
  try {
    return { value: await work };
  } catch (error) {
    return { error };
  }
}

function isDue(deed: Deed, operation: Operation, world: FailoverWorld): boolean {
  return typeof deed.when === "string" ? operation.phase === deed.when : deed.when(operation, world);
}

async function begin(site: Site, { vpg }: ProtectedShop, { ask: { kind, options } }: WorldOptions): Promise<Operation> {
  const requestId = operationId;
  if (kind !== "delta-sync") return startOperation(site, operator, vpg, ask(kind, options));
  return startDeltaSync(site, operator, vpg.vpgId, { requestId, options });
}

function ask(kind: StartOperation["kind"], options: StartOperation["options"]): StartOperation {
  const requestId = operationId;
  if (kind === "move" && "verify" in options) return { kind, options, requestId };
  if (kind === "failover-live" && "commitPolicy" in options && "checkpoint" in options)
    return { kind, options, requestId };
  if (kind === "failover-test" && !("commitPolicy" in options) && "checkpoint" in options)
    return { kind, options, requestId };
  throw new TypeError("options of another kind of operation");
}
