import { describe, expect, it } from "vitest";
import type { Clock, Workflows } from "#core/ports.ts";
import { objectsContract } from "../../test/contract/objects.ts";
import { tableContract } from "../../test/contract/table.ts";
import { MemoryObjects } from "../embedded/memory-objects.ts";
import { SqliteTable } from "../embedded/table.ts";
import { FaultPlan } from "./fault-plan.ts";
import { FaultyObjects } from "./faulty-objects.ts";
import { FaultyTable } from "./faulty-table.ts";
import { FaultyWorkflows } from "./faulty-workflows.ts";
import { SeededRandom } from "./seeded-random.ts";

objectsContract("FaultyObjects without faults", async () => ({
  objects: new FaultyObjects(new MemoryObjects(), new FaultPlan({ seed: 1 })),
}));
tableContract("FaultyTable without faults", async () => {
  const inner = new SqliteTable(":memory:");
  return { table: new FaultyTable(inner, new FaultPlan({ seed: 1 })), dispose: async () => inner.close() };
});

const body = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);

describe("FaultPlan", () => {
  const rates = { put: { failBefore: 0.2, lostReply: 0.1, tornPut: 0.1 }, "*": { failBefore: 0.5 } };
  const outcomes = async (seed: number) => {
    const plan = new FaultPlan({ seed, rates });
    const objects = new FaultyObjects(new MemoryObjects(), plan);
    const answers: string[] = [];
    for (let turn = 0; turn < 200; turn++) {
      const key = `k/${turn}`;
      answers.push(await objects.put(key, body).catch((error) => String(error.details.fault)));
      answers.push(await objects.head(key).then(String, (error) => String(error.details.fault)));
    }
    return { answers, injected: plan.injected, total: plan.injectedTotal };
  };

  it("does the same again for the same seed, and something else for another", async () => {
    const first = await outcomes(7);
    expect(await outcomes(7)).toEqual(first);
    expect((await outcomes(8)).answers).not.toEqual(first.answers);
  });

  it("keeps to its rates, by method, and counts what it did", async () => {
    const { answers, injected, total } = await outcomes(7);
    const count = (name: string) => answers.filter((answer) => answer === name).length;
    expect(Object.keys(injected)).toEqual(["head.failBefore", "put.failBefore", "put.lostReply", "put.tornPut"]);
    expect(count("lostReply")).toBe(injected["put.lostReply"]);
    expect(injected["put.failBefore"]).toBeGreaterThan(20);
    expect(injected["put.failBefore"]).toBeLessThan(60);
    expect(injected["head.failBefore"]).toBeGreaterThan(70);
    expect(total).toBe(count("lostReply") + count("failBefore") + count("tornPut"));
  });

  it("does what it was told first, and nothing once healed", async () => {
    const plan = new FaultPlan({ seed: 1, rates: { "*": { failBefore: 1 } } });
    const objects = new FaultyObjects(new MemoryObjects(), plan);
    plan.failNext("put", "lostReply", 2);
    for (const fault of ["lostReply", "lostReply", "failBefore"])
      await expect(objects.put("k", body)).rejects.toMatchObject({ name: "Transient", details: { fault, seed: 1 } });
    plan.failNext("put", "lostReply");
    plan.heal();
    expect(await objects.put("k", body)).toBe("created");
  });
});

describe("the faulty decorators", () => {
  const make = (clock?: Clock) => {
    const plan = new FaultPlan({ seed: 3, delayMsMax: 1000, ...(clock === undefined ? {} : { clock }) });
    const inner = new MemoryObjects();
    return { plan, inner, objects: new FaultyObjects(inner, plan) };
  };

  it("failBefore does nothing, lostReply does it", async () => {
    const { plan, inner, objects } = make();
    plan.failNext("put", "failBefore");
    await expect(objects.put("a", body)).rejects.toThrow("failBefore (seed 3)");
    expect(await inner.head("a")).toBeUndefined();
    plan.failNext("put", "lostReply");
    await expect(objects.put("a", body)).rejects.toThrow("lostReply");
    expect(await inner.get("a")).toEqual(body);
  });

  it("duplicate gives the second reply", async () => {
    const { plan, objects } = make();
    plan.failNext("put", "duplicate");
    expect(await objects.put("a", body, { ifAbsent: true })).toBe("exists");
    const table = new FaultyTable(new SqliteTable(":memory:"), plan);
    plan.failNext("transact", "duplicate");
    const key = { pk: "p", sk: "s" };
    await expect(table.transact([{ put: key, fields: {}, if: { absent: true } }])).rejects.toThrow("not as wanted");
    expect(await table.get(key)).toMatchObject({ rev: 1 });
  });

  it("delay waits on the plan's clock, and others overtake", async () => {
    let wake = () => {};
    const sleep = () => new Promise<void>((resolve) => (wake = resolve));
    const { plan, inner, objects } = make({ now: () => 0, monotonic: () => 0, sleep });
    plan.failNext("put", "delay");
    const slow = objects.put("a", body);
    await objects.put("b", body);
    expect(await inner.head("a")).toBeUndefined();
    wake();
    await slow;
    expect(await inner.get("a")).toEqual(body);
  });

  it("shortRead gives less than there is; tornPut stores less than was put", async () => {
    const { plan, inner, objects } = make();
    await objects.put("a", body);
    plan.failNext("get", "shortRead");
    expect((await objects.get("a")).length).toBeLessThan(body.length);
    expect(await objects.get("a")).toEqual(body);
    plan.failNext("put", "tornPut");
    await expect(objects.put("b", body)).rejects.toThrow("tornPut");
    expect((await inner.get("b")).length).toBeLessThan(body.length);
  });

  it("a fault that a method can't have waits for one that can", async () => {
    const { plan, objects } = make();
    await objects.put("a", body);
    plan.failNext("head", "tornPut");
    expect((await objects.head("a"))?.size).toBe(8);
    expect(plan.injectedTotal).toBe(0);
  });

  it("reach every method of Workflows", async () => {
    const done: string[] = [];
    const note = (name: string) => async () => void done.push(name);
    const inner: Workflows = {
      start: note("start"),
      describe: async () => undefined,
      stop: note("stop"),
      succeed: note("succeed"),
      fail: note("fail"),
      heartbeat: note("heartbeat"),
    };
    const plan = new FaultPlan({ seed: 1 });
    const workflows = new FaultyWorkflows(inner, plan);
    const calls: Record<string, () => Promise<unknown>> = {
      start: () => workflows.start("m", "n", "{}"),
      stop: () => workflows.stop("m", "n", "e", "c"),
      succeed: () => workflows.succeed("t", "{}"),
      fail: () => workflows.fail("t", "e", "c"),
      heartbeat: () => workflows.heartbeat("t"),
    };
    for (const [name, call] of Object.entries(calls)) {
      plan.failNext(name, "lostReply");
      await expect(call(), name).rejects.toThrow("lostReply");
      await call();
    }
    plan.failNext("describe", "failBefore");
    await expect(workflows.describe("m", "n")).rejects.toThrow("failBefore");
    expect(await workflows.describe("m", "n")).toBeUndefined();
    expect(done).toEqual(Object.keys(calls).flatMap((name) => [name, name]));
  });
});

describe("SeededRandom", () => {
  it("repeats its stream, and spreads evenly", () => {
    const draw = (seed: number) => {
      const random = new SeededRandom(seed);
      return Array.from({ length: 4000 }, () => random.below(10));
    };
    expect(draw(5)).toEqual(draw(5));
    for (let digit = 0; digit < 10; digit++) {
      const count = draw(5).filter((value) => value === digit).length;
      expect(count).toBeGreaterThan(320);
      expect(count).toBeLessThan(480);
    }
    expect(new SeededRandom(5).bytes(100)).toEqual(new SeededRandom(5).bytes(100));
    expect(new SeededRandom(1).chance(0)).toBe(false);
  });
});
