import { beforeEach, describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import type { SiteFailoverView } from "#core/api/trigger-api.ts";
import { type Id, newId } from "#core/ids.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { items } from "#core/protection/items.ts";
import type { Phase } from "#core/protection/operation.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { endOperation } from "#core/recovery/end-operation.ts";
import { changeOperation } from "#core/recovery/operation-store.ts";
import { reconcile } from "#core/recovery/reconcile.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import type { Site } from "#core/site.ts";
import { type Durable, protectAt, shop, siteOf } from "../../test/kit/failover-site.ts";
import { jittery, Life, mortal } from "../../test/kit/mortal.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { noWorkflows, operator } from "../../test/kit/site.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { monitor } from "./monitor.ts";
import { triggerPolicySchema } from "./policy.ts";
import { failOverSite, planSiteFailover } from "./site-failover.ts";
import { change, findSiteFailover } from "./site-failover-record.ts";

const latest = {
  checkpoint: { kind: "latest" },
  shutdown: { policy: "none", graceMs: 0 },
  commitPolicy: { action: "none" },
} as const;

const named = (name: string, dependsOn: string[] = [], priority = 50) => ({
  ...shop,
  name,
  sourceGateway: `gw-${name}`,
  trigger: triggerPolicySchema.parse({ dependsOn, priority }),
});

class Berlin {
  readonly durable: Durable & { readonly clock: VirtualClock };
  readonly site: Site;
  readonly started: string[] = [];

  constructor() {
    const random = new SeededRandom(3);
    this.durable = {
      objects: new MemoryObjects(),
      table: new SqliteTable(":memory:"),
      clock: new VirtualClock(),
      random,
    };
    this.site = this.process(this.durable, random);
  }

  /** With its own `random`, as every process has. */
  process(durable: Durable, random: SeededRandom): Site {
    const start = async (_machine: string, name: string) => void this.started.push(name);
    return { ...siteOf(durable), random, workflows: { ...noWorkflows, start } };
  }

  /** db first, then shop; web may run beside; ledger has no checkpoint, and books depend on it. */
  static async make(): Promise<Berlin> {
    const berlin = new Berlin();
    await protectAt(berlin.durable, named("db"));
    await protectAt(berlin.durable, named("shop", ["db"], 1));
    await protectAt(berlin.durable, named("web", [], 90));
    await createVpg(berlin.site, { ...named("ledger"), sourceGateway: "gw-db" }, operator);
    await protectAt(berlin.durable, named("books", ["ledger"]));
    return berlin;
  }

  ask(site = this.site, concurrency = 4): Promise<SiteFailoverView> {
    const requestId = newId(site.clock, site.random);
    return failOverSite(site, operator, "berlin", { requestId, options: latest, concurrency });
  }

  async reach(name: string, phase: Phase): Promise<void> {
    const { operationId } = await getVpg(this.site, name);
    if (operationId !== null) await changeOperation(this.site, operationId, () => ({ change: { phase } }));
  }

  async operations(): Promise<readonly string[]> {
    return (await this.site.table.query("operations")).items.map(({ sk }) => sk);
  }
}

const states = (view: SiteFailoverView): Record<string, string> =>
  Object.fromEntries(view.vpgs.map(({ name, state }) => [name, state]));

let berlin: Berlin;
beforeEach(async () => {
  berlin = await Berlin.make();
});

describe("a whole site's failover", () => {
  it("is planned by priority, after what each depends on, and planning starts nothing", async () => {
    const plan = await planSiteFailover(berlin.site, "berlin");
    expect(plan.map(({ name }) => name)).toEqual(["db", "shop", "ledger", "books", "web"]);
    expect(await berlin.operations()).toEqual([]);
    await expect(planSiteFailover(berlin.site, "rome")).rejects.toMatchObject({ name: "InvalidInput" });
  });

  it("starts each once what it depends on is up; a failure stops what depends on it and nothing else", async () => {
    expect(states(await berlin.ask())).toEqual({
      ...{ db: "running", shop: "pending", web: "running", ledger: "failed", books: "blocked" },
    });
    await berlin.reach("db", "BeforeCommit");
    expect(states(await berlin.ask())).toMatchObject({ db: "up", shop: "running" });
    await berlin.reach("web", "BeforeCommit");
    const { operationId } = await getVpg(berlin.site, "shop");
    if (operationId !== null) await endOperation(berlin.site, operationId);
    const ended = await berlin.ask();
    expect(states(ended)).toEqual({ db: "up", shop: "failed", web: "up", ledger: "failed", books: "blocked" });
    expect(ended.endedAt).not.toBeNull();
    expect(ended.vpgs.find(({ name }) => name === "ledger")).toMatchObject({ error: { name: "NoCheckpoint" } });
    expect(ended.vpgs.find(({ name }) => name === "books")?.detail).toMatch(/depends on ledger/);
    expect(await berlin.operations()).toHaveLength(3);
  });

  it("goes by the operation, where one look was refused and another at the same time was not", async () => {
    const { siteFailoverId } = await berlin.ask();
    const found = await findSiteFailover(berlin.site, siteFailoverId);
    if (found === undefined) throw new Error("no record");
    const refused = { name: "NoCheckpoint", message: "none yet" };
    const entries = found.record.entries.map((entry) => (entry.name === "db" ? { ...entry, refused } : entry));
    await berlin.site.table.transact(change({ ...found.record, entries }, found.rev));
    expect(states(await berlin.ask())).toMatchObject({ db: "running", shop: "pending" });
    await berlin.reach("db", "BeforeCommit");
    const view = await berlin.ask();
    expect(states(view)).toMatchObject({ db: "up", shop: "running" });
    expect(view.vpgs.find(({ name }) => name === "db")).toMatchObject({ error: null, detail: "" });
  });

  it("brings up no more at once than asked", async () => {
    expect(states(await berlin.ask(berlin.site, 1))).toMatchObject({ db: "running", web: "pending" });
    await berlin.reach("db", "BeforeCommit");
    expect(states(await berlin.ask(berlin.site, 1))).toMatchObject({ shop: "running", web: "pending" });
  });

  it("takes a failover that a person has begun for that VPG's part", async () => {
    const requestId = newId(berlin.site.clock, berlin.site.random);
    const db = await getVpg(berlin.site, "db");
    await startOperation(berlin.site, operator, db, { kind: "failover-live", options: latest, requestId });
    const view = await berlin.ask();
    expect(view.vpgs.find(({ name }) => name === "db")).toMatchObject({ state: "running", operationId: requestId });
    expect(await berlin.operations()).toHaveLength(2);
  });

  it("takes a failover that a person begins in between, too", async () => {
    await berlin.ask(berlin.site, 1);
    const requestId = newId(berlin.site.clock, berlin.site.random);
    const web = await getVpg(berlin.site, "web");
    await startOperation(berlin.site, operator, web, { kind: "failover-live", options: latest, requestId });
    for (const name of ["db", "shop"]) {
      await berlin.reach(name, "BeforeCommit");
      await berlin.ask();
    }
    const { vpgs } = await berlin.ask();
    expect(vpgs.find(({ name }) => name === "web")).toMatchObject({ state: "running", operationId: requestId });
    expect(await berlin.operations()).toHaveLength(3);
  });

  it("goes on by itself, with nobody asking", async () => {
    const { siteFailoverId } = await berlin.ask();
    await berlin.reach("db", "BeforeCommit");
    await monitor(berlin.site, 5000);
    expect((await getVpg(berlin.site, "shop")).operationId).not.toBeNull();
    await berlin.reach("shop", "BeforeCommit");
    await berlin.reach("web", "BeforeCommit");
    await monitor(berlin.site, 5000);
    const requestId = siteFailoverId;
    const ended = await failOverSite(berlin.site, operator, "berlin", { requestId, options: latest, concurrency: 4 });
    expect(ended).toMatchObject({ siteFailoverId, endedAt: expect.any(Number) });
    // It has ended: whoever asks anew asks for another.
    const next = await berlin.ask();
    expect(next.siteFailoverId).not.toBe(siteFailoverId);
    expect(await berlin.operations()).toHaveLength(3);
  });

  it("refuses a checkpoint's id, which is of one VPG", async () => {
    const options = { ...latest, checkpoint: { kind: "id", id: "1-6" } } as const;
    const requestId = newId(berlin.site.clock, berlin.site.random);
    const asked = failOverSite(berlin.site, operator, "berlin", { requestId, options, concurrency: 1 });
    await expect(asked).rejects.toMatchObject({ name: "InvalidInput" });
  });

  it("asked by twenty at once is one", async () => {
    const crowd = Array.from({ length: 20 }, (_, seed) =>
      berlin.process(
        { ...berlin.durable, table: jittery(berlin.durable.table, new SeededRandom(seed + 1)) },
        new SeededRandom(seed + 50),
      ),
    );
    const views = await Promise.all(crowd.map((site) => berlin.ask(site)));
    expect(new Set(views.map(({ siteFailoverId }) => siteFailoverId)).size).toBe(1);
    expect(await berlin.operations()).toHaveLength(2);
  });

  it("killed after any call and asked for again is one", async () => {
    for (let deaths = 1; ; deaths += 1) {
      const world = await Berlin.make();
      const life = new Life();
      let left = deaths;
      const onCall = (): void => {
        left -= 1;
        if (left === 0) life.kill();
      };
      const { objects, table, clock } = world.durable;
      const dying = world.process(
        {
          objects: mortal(objects, life, onCall),
          table: mortal(table, life, onCall),
          clock,
        },
        new SeededRandom(7),
      );
      const outcome = await life.race(world.ask(dying).then(() => "through"));
      const view = await world.ask(world.process(world.durable, new SeededRandom(9)));
      expect(states(view)).toMatchObject({ db: "running", web: "running", books: "blocked" });
      expect({ deaths, operations: await world.operations() }).toMatchObject({ operations: { length: 2 } });
      // What was killed between an operation and its execution is the reconciler's.
      await reconcile(world.site);
      expect(new Set(world.started).size).toBe(2);
      if (outcome === "through") return;
      expect(deaths).toBeLessThan(500);
    }
  }, 120_000);
});

describe("priority and dependency of triggers", () => {
  it("hold back what depends on another until that is up, and start the rest in order", async () => {
    const quick = {
      policy: "automatic",
      minimumDurationMs: 10_000,
      acceptTwoCopies: "they only read from this data",
    } as const;
    const automatic = (dependsOn: string[], priority: number) =>
      triggerPolicySchema.parse({ ...quick, dependsOn, priority });
    const world = new Berlin();
    await protectAt(world.durable, { ...named("db"), trigger: automatic([], 50) });
    const front = await protectAt(world.durable, { ...named("front"), trigger: automatic(["db"], 1) });
    const beat = async (): Promise<void> => {
      const fields = { lastSeenAt: world.site.clock.now(), skewMs: 0, version: "1", processId: front.vpg.vpgId };
      const put = items.gateway(front.vpg.definition.recoveryGatewayId ?? front.vpg.vpgId);
      await world.site.table.transact([{ put, fields: { ...fields, streams: [], attachedOperations: [] } }]);
    };
    await world.durable.clock.advance(60_000);
    const look = async (times: number): Promise<void> => {
      for (let count = 0; count < times; count += 1) {
        await world.durable.clock.advance(5000);
        await beat();
        await monitor(world.site, 5000);
      }
    };
    const operationOf = async (name: string): Promise<Id | null> => (await getVpg(world.site, name)).operationId;
    await look(8);
    expect([await operationOf("db"), await operationOf("front")]).toEqual([expect.any(String), null]);
    await world.reach("db", "BeforeCommit");
    await look(1);
    expect(await operationOf("front")).not.toBeNull();
  });
});
