import { DatabaseSync } from "node:sqlite";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { EmbeddedWorkflows } from "#adapters/embedded/workflows/interpreter.ts";
import { FaultPlan } from "#adapters/faulty/fault-plan.ts";
import { FaultyObjects } from "#adapters/faulty/faulty-objects.ts";
import { FaultyTable } from "#adapters/faulty/faulty-table.ts";
import { FaultyWorkflows } from "#adapters/faulty/faulty-workflows.ts";
import { Transient } from "#core/errors.ts";
import { type Id, newId } from "#core/ids.ts";
import type { Clock, Log, Notify, Random } from "#core/ports.ts";
import { claimSite } from "#core/protection/table-layout.ts";
import type { Site } from "#core/site.ts";
import { lambdaContext } from "../../cli/site/lambda-context.ts";
import { siteLimits } from "../../cli/site/limits.ts";
import { invokeTask, machines } from "../../cli/site/machines.ts";
import { rebuildAll } from "../../cli/site/rebuild.ts";
import { handler as collectJournals } from "../../functions/collect-journal/handler.ts";
import { handler as compactJournals } from "../../functions/compact-journal/handler.ts";
import { handler as gatewayApi } from "../../functions/gateway-api/handler.ts";
import { handler as ingestBatch } from "../../functions/ingest-batch/handler.ts";
import { handler as reconcile } from "../../functions/reconciler/handler.ts";
import { handler as scrubJournals } from "../../functions/scrub-journal/handler.ts";
import { runWithSite } from "../../functions/shared/site.ts";
import type { TaskHandler } from "../../functions/shared/task-handler.ts";
import { handler as siteApi } from "../../functions/site-api/handler.ts";
import { handler as watchSources } from "../../functions/site-monitor/handler.ts";
import type { WireReply, WireRequest } from "../../gateway/control/http-transport.ts";
import { MemoryTable } from "../kit/memory-table.ts";
import { Life, mortal, mortalClock } from "../kit/mortal.ts";
import { noPeers, noWorkflows, silentLog } from "../kit/site.ts";
import { collectEveryMs, compactEveryMs, scrubEveryMs } from "./limits.ts";
import type { SimPeers } from "./sim-peers.ts";
import { SkewedClock } from "./skewed-clock.ts";

/** Wraps a site's ports: a planted bug, for the tests that show that bugs are found. */
export type WrapSite = (site: Site) => Site;

export interface SimSiteOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly faultSeed: number;
  /** Unique in this process. */
  readonly databaseName: string;
  /** Told of every error that no name foresees: it is a fault of the program. */
  readonly log: Log;
  readonly notify: Notify;
  readonly peers: SimPeers;
  readonly wrap: WrapSite;
}

/** An embedded site without files and sockets: its bucket, its table, the time; and its process, which may be killed. */
export class SimSite {
  readonly name: string;
  readonly objects = new MemoryObjects();
  readonly table = new MemoryTable();
  readonly clock: SkewedClock;
  readonly plan: FaultPlan;
  readonly #options: SimSiteOptions;
  readonly #file: string;
  /** The executions live in memory as long as somebody holds them open. */
  readonly #keeper: DatabaseSync;
  #siteId: Id | undefined;
  #life = new Life();
  #process: Site | undefined;
  #workflows: EmbeddedWorkflows | undefined;
  lives = 0;

  constructor(options: SimSiteOptions) {
    this.#options = options;
    this.name = options.name;
    this.clock = new SkewedClock(options.clock);
    this.plan = new FaultPlan({ seed: options.faultSeed, clock: options.clock, delayMsMax: 3000 });
    this.#file = `file:${options.databaseName}?mode=memory&cache=shared`;
    this.#keeper = new DatabaseSync(this.#file);
  }

  /** Its way to the other site. */
  get peers(): SimPeers {
    return this.#options.peers;
  }

  get up(): boolean {
    return this.#process !== undefined;
  }

  get siteId(): Id {
    if (this.#siteId === undefined) throw new Error(`site ${this.name} was never started`);
    return this.#siteId;
  }

  /** The site as a process that nothing goes wrong with sees it, with nothing remembered: for whoever looks on. */
  seen(): Site {
    const { clock, random, notify } = this.#options;
    const ports = { objects: this.objects, table: this.table, workflows: noWorkflows };
    return {
      siteId: this.siteId,
      siteName: this.name,
      ...ports,
      clock,
      random,
      log: silentLog,
      notify,
      peers: noPeers,
    };
  }

  async start(): Promise<void> {
    if (this.up) return;
    this.lives += 1;
    const life = new Life();
    this.#life = life;
    const { random, log, notify, name, peers } = { ...this.#options, name: this.name };
    const clock = mortalClock(this.clock, life);
    const identity = await claimSite({ objects: this.objects, table: this.table }, name, { clock, random });
    this.#siteId = identity.siteId;
    const workflows = new EmbeddedWorkflows({
      ...{ file: this.#file, clock, random, log, machines },
      invoke: (task, payload) => invokeTask(site, task, payload),
    });
    const site: Site = this.#options.wrap({
      siteId: identity.siteId,
      siteName: name,
      objects: mortal(new FaultyObjects(this.objects, this.plan), life),
      table: mortal(new FaultyTable(this.table, this.plan), life),
      workflows: mortal(new FaultyWorkflows(workflows, this.plan), life),
      ...{ clock, random, log, notify, peers: mortal(peers, life) },
    });
    this.#workflows = workflows;
    this.#process = site;
    await workflows.resume();
    this.#every(life, siteLimits.reconcileEveryMs, reconcile, {});
    this.#every(life, compactEveryMs, compactJournals, {});
    this.#every(life, collectEveryMs, collectJournals, {});
    this.#every(life, scrubEveryMs, scrubJournals, {});
    this.#every(life, siteLimits.monitorEveryMs, watchSources, { everyMs: siteLimits.monitorEveryMs });
  }

  /** SIGKILL. */
  kill(): void {
    this.#process = undefined;
    this.#life.kill(() => void this.#workflows?.close());
    this.#workflows = undefined;
  }

  /** Ends it for good. */
  close(): void {
    this.kill();
    this.#keeper.close();
  }

  /** `farshore site rebuild`, while the site is down. */
  async rebuild(): Promise<void> {
    const table = new MemoryTable();
    await rebuildAll({ siteId: this.siteId, objects: this.objects, table, clock: this.clock });
    this.table.restore(table.snapshot());
  }

  /** One request of a function URL. Rejects when no process listens, or when it dies before it answered. */
  async serve({
    method,
    url,
    headers,
    body,
  }: Pick<WireRequest, "method" | "url" | "headers" | "body">): Promise<WireReply> {
    const site = this.#process;
    if (site === undefined) throw new Transient("connection refused");
    const life = this.#life;
    const { pathname, search } = new URL(url);
    const event = {
      rawPath: pathname,
      rawQueryString: search.slice(1),
      headers,
      bytes: typeof body === "string" ? Buffer.from(body) : (body ?? new Uint8Array(0)),
      isBase64Encoded: false,
      requestContext: {
        requestId: newId(site.clock, site.random),
        timeEpoch: site.clock.now(),
        http: { method },
      },
    };
    const [name, handler] = handlerOf(pathname);
    const context = lambdaContext(name, event.requestContext.requestId);
    const result = await life.race(runWithSite(site, () => handler(event, context)));
    if (result === "killed" || !life.alive) throw new Transient("connection reset");
    const bytes = result.bytes ?? Buffer.from(result.body ?? "", "utf8");
    return { statusCode: result.statusCode ?? 200, headers: {}, bytes: Uint8Array.from(bytes) };
  }

  #every(life: Life, ms: number, handler: TaskHandler<unknown>, input: unknown): void {
    const site = this.#process;
    if (site === undefined) return;
    const { log } = this.#options;
    const run = async (): Promise<void> => {
      while (life.alive) {
        const context = lambdaContext("schedule", newId(site.clock, site.random));
        try {
          await runWithSite(site, () => handler(input, context));
        } catch (error) {
          log.error("schedule-failed", { error });
        }
        await site.clock.sleep(ms);
      }
    };
    void run();
  }
}

function handlerOf(path: string): readonly [string, typeof siteApi] {
  if (path.startsWith("/gateway/v1/batches/")) return ["ingest-batch", ingestBatch];
  return path.startsWith("/gateway/") ? ["gateway-api", gatewayApi] : ["site-api", siteApi];
}
