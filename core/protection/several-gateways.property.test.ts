import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { newId } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import { verifyJournal } from "#core/journal/verify-journal.ts";
import type { Caller, Site } from "#core/site.ts";
import { listed, listedOffline } from "../../test/kit/listing.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { gatewayCallers, offered, severalGateways } from "../../test/kit/several-gateways.ts";
import { makeSite, openAsk, operator } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { createVpg } from "./create-vpg.ts";
import { ingestBatch, type SentBatch } from "./ingest.ts";
import { openSession } from "./open-session.ts";
import { rebuildTable } from "./rebuild.ts";
import type { VpgRecord } from "./vpg-store.ts";

// A failure prints its seed: SEED=n npx vitest run --project unit core/protection/several-gateways.property.test.ts
const seed = Number(process.env["SEED"] ?? Date.now() & 0x7fffffff);

const names = ["gw-a", "gw-b", "gw-c"] as const;
const gateway = fc.nat(names.length - 1);

type Step =
  | { readonly kind: "hold" | "close" | "restart"; readonly of: number }
  | { readonly kind: "sync"; readonly of: number; readonly ends: boolean }
  | { readonly kind: "deliver"; readonly of: number; readonly count: number }
  /** `stale`: of one gateway not its newest hold, but one so many before, whatever session that was in. */
  | { readonly kind: "barrier"; readonly of: number; readonly stale: number }
  | { readonly kind: "site-restart" };

const steps = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("hold" as const), of: gateway }) },
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant("deliver" as const),
        of: gateway,
        count: fc.constantFrom(1, 3, 20, 20),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("barrier" as const),
        of: gateway,
        stale: fc.constantFrom(0, 0, 0, 0, 1, 2, 5),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("sync" as const), of: gateway, ends: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("close" as const, "restart" as const), of: gateway }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("site-restart" as const) }) },
  ),
  { minLength: 20, maxLength: 90 },
);

/** One session of a gateway as the test knows it: what it appended, and how much of that came to the site. */
interface Life {
  readonly gateway: number;
  readonly stream: Stream;
  readonly waiting: SentBatch[];
  /** Last sequence that the site has. */
  arrived: number;
  /** From these sequences on the volume is synced, or not. */
  readonly synced: { readonly from: number; readonly is: boolean }[];
  cleanlyClosed: boolean;
}

interface Barrier {
  readonly session: number;
  readonly sequence: number;
  readonly vector: readonly Position[];
}

const before = (one: Position, other: Position) => one.session - other.session || one.sequence - other.sequence;

class World {
  readonly objects = new MemoryObjects();
  readonly table = new SqliteTable(":memory:");
  site: Site = this.process();
  vpg: VpgRecord | undefined;
  callers: readonly Caller[] = [];
  readonly lives: Life[] = [];
  readonly holds = names.map((): Position[] => []);
  readonly barriers: Barrier[] = [];
  readonly #random = new SeededRandom(7);
  #time = Date.UTC(2030, 0, 1);

  process(over: Partial<Site> = {}): Site {
    return { ...makeSite({ objects: this.objects, table: this.table }), ...over };
  }

  async begin(): Promise<void> {
    this.callers = await gatewayCallers(this.site, names);
    this.vpg = await createVpg(this.site, severalGateways(names), operator);
    for (const index of names.keys()) {
      await this.open(index);
      this.sync(index, true);
    }
  }

  life(index: number): Life {
    const life = this.lives.findLast((each) => each.gateway === index);
    if (life === undefined) throw new Error("no session");
    return life;
  }

  async open(index: number): Promise<void> {
    const { vpg } = this;
    const caller = this.callers[index];
    if (vpg === undefined || caller === undefined) throw new Error("no VPG");
    const last = this.lives.findLast((each) => each.gateway === index);
    const ask = openAsk(this.site, vpg.vpgId, {
      // Of the gateways' own chance: a site that starts again must not be asked with an earlier one's.
      nonce: newId(this.site.clock, this.#random),
      lastSession: last?.stream.session ?? 0,
      cleanlyClosed: last?.cleanlyClosed ?? false,
      volumes: offered(index),
    });
    const reply = await openSession(this.site, caller, ask);
    expect(reply.session).toBe(Math.max(0, ...this.lives.map(({ stream }) => stream.session)) + 1);
    expect(reply.volumes.map(({ vmName }) => vmName)).toEqual([`vm${index + 1}`]);
    expect(
      reply.journalEnd.session === 0 ||
        this.lives.some(({ gateway: of, stream }) => of === index && stream.session === reply.journalEnd.session),
    ).toBe(true);
    const synced = [{ from: 0, is: reply.continues }];
    const stream = new Stream(vpg.vpgId, reply);
    this.lives.push({ gateway: index, stream, waiting: [], arrived: 0, synced, cleanlyClosed: false });
  }

  hold(index: number): Position {
    const { stream, waiting } = this.life(index);
    const write = { volume: stream.volumes[0]?.volume ?? 0, offset: 0, bytes: new Uint8Array(512).fill(1) };
    waiting.push(stream.next([write], [{ kind: "hold", time: this.#time }]));
    const position = { session: stream.session, sequence: stream.sequence };
    this.holds[index]?.push(position);
    return position;
  }

  barrier(of: number, stale: number): void {
    for (const index of names.keys()) if (index === 0 || this.holds[index]?.length === 0) this.hold(index);
    const vector = names.map((_, index) => {
      const holds = this.holds[index] ?? [];
      const place = holds.at(-1 - (index === of ? stale : 0)) ?? holds.at(-1);
      if (place === undefined) throw new Error("no hold");
      return place;
    });
    const { stream, waiting } = this.life(0);
    // The format wants the barrier's own session in it.
    if (!vector.some(({ session }) => session === stream.session)) return;
    const ordered = vector.toSorted(before);
    this.#time += 1000;
    waiting.push(stream.next([], [{ kind: "barrier", time: this.#time, tag: "", vector: ordered }]));
    this.barriers.push({ session: stream.session, sequence: stream.sequence, vector: ordered });
  }

  sync(index: number, ends: boolean): void {
    const life = this.life(index);
    const volume = life.stream.volumes[0]?.volume ?? 0;
    life.waiting.push(life.stream.next([], [{ kind: "sync-begin", volume }]));
    life.synced.push({ from: life.stream.sequence, is: false });
    if (!ends) return;
    life.waiting.push(life.stream.next([], [{ kind: "sync-end", volume }]));
    life.synced.push({ from: life.stream.sequence, is: true });
  }

  async deliver(index: number, count: number): Promise<void> {
    const life = this.life(index);
    const caller = this.callers[index];
    if (caller === undefined) throw new Error("no gateway");
    const batches = life.waiting.splice(0, count);
    // In flight together, so that they come in any order.
    await Promise.all(batches.toReversed().map((sent) => ingestBatch(this.site, caller, sent)));
    if (batches.length > 0) life.arrived = life.stream.sequence - (await sequencesIn(life.waiting));
  }

  async run(step: Step): Promise<void> {
    switch (step.kind) {
      case "hold":
        this.hold(step.of);
        return;
      case "sync":
        return this.sync(step.of, step.ends);
      case "deliver":
        return this.deliver(step.of, step.count);
      case "barrier":
        return this.barrier(step.of, step.stale);
      case "close": {
        const life = this.life(step.of);
        life.waiting.push(life.stream.close());
        await this.deliver(step.of, life.waiting.length);
        life.cleanlyClosed = life.synced.at(-1)?.is === true;
        return this.open(step.of);
      }
      case "restart":
        return this.open(step.of);
      case "site-restart":
        this.site = this.process();
        return;
    }
  }

  /** The rule in the test's own words, from what it did itself. */
  expected(): string[] {
    const inSession = (session: number) => this.lives.find(({ stream }) => stream.session === session);
    const right = ({ session, sequence, vector }: Barrier): boolean => {
      const coordinator = inSession(session);
      if (coordinator === undefined || coordinator.arrived < sequence) return false;
      const parts = vector.map((position) => ({ position, life: inSession(position.session) }));
      if (new Set(parts.map(({ life }) => life?.gateway)).size !== names.length) return false;
      return parts.every(({ position, life }) => {
        if (life === undefined || life.arrived < position.sequence) return false;
        const synced = life.synced.findLast(({ from }) => from <= position.sequence)?.is === true;
        const sibling = this.lives.find(
          ({ gateway: of, stream }) => of === life.gateway && stream.session > position.session,
        );
        const superseded = sibling !== undefined && sibling.stream.session < session;
        return synced && !superseded;
      });
    };
    return this.barriers
      .filter(right)
      .map(({ session, sequence }) => `${session}-${sequence}`)
      .reverse();
  }
}

async function sequencesIn(batches: readonly SentBatch[]): Promise<number> {
  const { decodeHeader } = await import("#core/journal/decode.ts");
  return batches
    .map(({ body }) => decodeHeader(body))
    .reduce((sum, it) => sum + it.lastSequence - it.firstSequence + 1, 0);
}

describe("barriers of several gateways, whatever comes late, in what order and from which life", () => {
  it("are listed by R11, and the same from the table, a new process, the bucket, a verification and a rebuild", async () => {
    let seen = 0;
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const world = new World();
        await world.begin();
        for (const step of script) {
          await world.run(step);
          // Folds as it goes on, as a site that is asked all the time does.
          if (world.vpg !== undefined && step.kind === "barrier") await listed(world.site, world.vpg.vpgId);
        }
        if (world.vpg === undefined) throw new Error("no VPG");
        const { vpgId } = world.vpg;
        const truth = await listed(world.site, vpgId);
        expect(truth.map((line) => line.split(" ")[0])).toEqual(world.expected());
        expect(await listed(world.process(), vpgId)).toEqual(truth);
        expect(await listedOffline(world.site, vpgId)).toEqual(truth);
        expect((await verifyJournal(world.objects, vpgId)).checkpoints).toBe(truth.length);
        const rebuilt = world.process({ table: new SqliteTable(":memory:") });
        await rebuildTable(rebuilt);
        expect(await listed(rebuilt, vpgId)).toEqual(truth);
        seen += truth.length;
      }),
      { numRuns: 25, seed },
    );
    expect(seen).toBeGreaterThan(20);
  });
});
