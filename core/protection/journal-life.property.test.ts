import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { FaultPlan } from "#adapters/faulty/fault-plan.ts";
import { FaultyObjects } from "#adapters/faulty/faulty-objects.ts";
import { FaultyTable } from "#adapters/faulty/faulty-table.ts";
import type { OpenSession, OpenSessionReply } from "#core/api/gateway-api.ts";
import { Diverged, isRetryable } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import type { Caller, Site } from "#core/site.ts";
import { listed, listedOffline } from "../../test/kit/listing.ts";
import { makeSite, openAsk, type ProtectedVpg, protect, type TestSite } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { annotate, listCheckpoints } from "./checkpoints.ts";
import { ingestBatch, type SentBatch } from "./ingest.ts";
import { openSession } from "./open-session.ts";
import { rebuildTable } from "./rebuild.ts";
import type { VpgRecord } from "./vpg-store.ts";

// A failure prints its seed: SEED=n npx vitest run --project unit core/protection/journal-life.property.test.ts
const seed = Number(process.env["SEED"] ?? Date.now() & 0x7fffffff);

const noon = Date.UTC(2030, 0, 1, 12);

type Step =
  | { readonly kind: "synced" | "close" | "restart" | "site-restart" | "lose-rows" }
  | { readonly kind: "checkpoints"; readonly count: number; readonly order: number; readonly tag: boolean }
  | { readonly kind: "rival"; readonly ahead: number; readonly back: number };

const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("checkpoints" as const),
        count: fc.integer({ min: 1, max: 6 }),
        order: fc.nat(),
        tag: fc.boolean(),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("synced" as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("rival" as const),
        ahead: fc.integer({ min: 1, max: 3 }),
        back: fc.nat({ max: 8 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom("close" as const, "restart" as const, "site-restart" as const, "lose-rows" as const),
      }),
    },
  ),
  { minLength: 1, maxLength: 12 },
);

const retryMost = 60;

/** One gateway and one site through lost replies, duplicates, failures, restarts of either, and rows that vanish. */
class Life {
  readonly plan: FaultPlan;
  readonly objects: MemoryObjects;
  readonly table: SqliteTable;
  site: TestSite;
  readonly vpg: VpgRecord;
  readonly source: Caller;
  stream: Stream | undefined;
  lastSession = 0;
  acknowledgedBatch = -1;
  closed = false;
  /** Ids of checkpoints whose batch and all before it were acknowledged after a whole sync. */
  readonly promised = new Set<string>();
  #synced = false;
  #time = noon;

  private constructor(plan: FaultPlan, objects: MemoryObjects, table: SqliteTable, { vpg, source }: ProtectedVpg) {
    this.plan = plan;
    this.objects = objects;
    this.table = table;
    this.vpg = vpg;
    this.source = source;
    this.site = this.#process();
  }

  static async begin(faultSeed: number): Promise<Life> {
    const rates = { failBefore: 0.06, lostReply: 0.06, duplicate: 0.06 };
    const plan = new FaultPlan({
      seed: faultSeed,
      rates: { put: rates, transact: rates, get: { failBefore: 0.03 }, query: { failBefore: 0.02 } },
    });
    const [objects, table] = [new MemoryObjects(), new SqliteTable(":memory:")];
    const life = new Life(plan, objects, table, await protect(makeSite({ objects, table })));
    await life.open();
    return life;
  }

  #process(): TestSite {
    return makeSite({
      objects: new FaultyObjects(this.objects, this.plan),
      table: new FaultyTable(this.table, this.plan),
    });
  }

  async #untilDone<T>(call: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await call();
      } catch (error) {
        if (!isRetryable(error) || attempt === retryMost) throw error;
      }
    }
  }

  async open(): Promise<void> {
    const { lastSession, acknowledgedBatch, closed: cleanlyClosed } = this;
    const ask: OpenSession = openAsk(this.site, this.vpg.vpgId, {
      lastSession,
      acknowledgedBatch,
      cleanlyClosed,
      nonce: newId(this.site.clock, this.plan.random),
    });
    const reply: OpenSessionReply = await this.#untilDone(() => openSession(this.site, this.source, ask));
    expect(reply.session).toBe(lastSession + 1);
    expect(reply.continues).toBe(cleanlyClosed);
    this.stream = new Stream(this.vpg.vpgId, reply);
    this.lastSession = reply.session;
    this.acknowledgedBatch = -1;
    this.closed = false;
    this.#synced = reply.continues;
  }

  async #sendAll(batches: readonly SentBatch[]): Promise<void> {
    await Promise.all(batches.map((sent) => this.#untilDone(() => ingestBatch(this.site, this.source, sent))));
    this.acknowledgedBatch += batches.length;
  }

  async run(step: Step): Promise<void> {
    const stream = this.stream;
    if (stream === undefined) throw new Error("no session");
    switch (step.kind) {
      case "synced":
        await this.#sendAll([stream.synced()]);
        this.#synced = true;
        return;
      case "checkpoints": {
        const batches: SentBatch[] = [];
        for (let count = 0; count < step.count; count += 1) {
          this.#time += 5000;
          batches.push(stream.checkpoint(this.#time, step.tag && count === 0 ? `tag-${this.#time}` : ""));
          if (this.#synced) this.promised.add(`${stream.session}-${stream.sequence}`);
        }
        const turned = step.order % batches.length;
        return this.#sendAll([...batches.slice(turned).reverse(), ...batches.slice(0, turned)]);
      }
      case "rival":
        return this.#rival(step.ahead, step.back);
      case "close":
        await this.#sendAll([stream.close()]);
        this.closed = this.#synced;
        return this.open();
      case "restart":
        return this.open();
      case "site-restart":
        this.site = this.#process();
        return;
      case "lose-rows":
        return this.#loseRows();
    }
  }

  /**
   * A second gateway of the same identity gets a batch stored that doesn't follow, by a process that can't know: the session
   * ends before it, and the next one begins.
   */
  async #rival(ahead: number, back: number): Promise<void> {
    if (this.stream === undefined) throw new Error("no session");
    const rival = this.stream.clone(true);
    rival.batch += ahead;
    // No batch is empty, so its number is never above its first sequence.
    rival.sequence = Math.max(rival.batch, rival.sequence - back);
    const sent = rival.checkpoint(this.#time, "rival");
    await this.#untilDone(() => ingestBatch(this.#process(), this.source, sent));
    try {
      for (let count = 0; count < ahead; count += 1) {
        this.#time += 5000;
        await this.#sendAll([this.stream.checkpoint(this.#time)]);
        if (this.#synced) this.promised.add(`${this.stream.session}-${this.stream.sequence}`);
      }
    } catch (error) {
      // A process that knows of the rival refuses what doesn't lead up to it.
      if (!(error instanceof Diverged)) throw error;
    }
    await this.open();
  }

  /** What a kill between a put and its transaction does, to a few batches at once. */
  async #loseRows(): Promise<void> {
    const { items } = await this.table.query(`vpg#${this.vpg.vpgId}#batch`, { reverse: true, limit: 3 });
    for (const { pk, sk, fields } of items) {
      const session = Number(sk.split("-")[0]);
      if (session !== this.lastSession) continue;
      const marker = fields["marker"] as { sequence: number } | null;
      const actions = [{ delete: { pk, sk } }];
      if (marker !== null) {
        const place = `${sk.split("-")[0]}-${String(marker.sequence).padStart(16, "0")}`;
        actions.push({ delete: { pk: `vpg#${this.vpg.vpgId}#checkpoint`, sk: place } });
      }
      const [first] = fields["events"] as { sequence: number }[];
      if (first !== undefined) {
        const place = `${sk.split("-")[0]}-${String(first.sequence).padStart(16, "0")}`;
        actions.push({ delete: { pk: `vpg#${this.vpg.vpgId}#event`, sk: place } });
      }
      await this.table.transact(actions);
    }
    // The process that lost them died.
    this.site = this.#process();
  }
}

describe("the journal's index, whatever happens to a site and a gateway", () => {
  it("lists every acknowledged checkpoint, and the same from the table, a new process, the bucket and a rebuild", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 2 ** 31 - 1 }), steps, async (faultSeed, script) => {
        const life = await Life.begin(faultSeed);
        for (const step of script) await life.run(step);
        life.plan.heal();
        const { vpgId } = life.vpg;
        const calm = (over: Partial<Site> = {}): Site => ({
          ...makeSite({ objects: life.objects, table: life.table }),
          ...over,
        });
        const fresh = calm();
        const truth = await listed(fresh, vpgId);
        const ids = truth.map((line) => line.split(" ")[0]);
        expect(new Set(ids)).toEqual(life.promised);
        expect(await listed(life.site, vpgId)).toEqual(truth);
        expect(await listedOffline(fresh, vpgId)).toEqual(truth);

        const [noted] = (await listCheckpoints(fresh, vpgId)).checkpoints;
        if (noted !== undefined)
          await annotate(fresh, vpgId, noted.id, newId(fresh.clock, fresh.random), "Tested at noon");
        const withNote = await listed(fresh, vpgId);
        const rebuilt = calm({ table: new SqliteTable(":memory:") });
        await rebuildTable(rebuilt);
        expect(await listed(rebuilt, vpgId)).toEqual(withNote);
      }),
      { numRuns: 60, seed },
    );
  });
});
