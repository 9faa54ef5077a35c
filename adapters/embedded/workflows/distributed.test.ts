import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { VirtualClock } from "../../../test/kit/virtual-clock.ts";
import {
  machineOf,
  type TestFunctions,
  taskOf,
  tokenTaskOf,
  type WorkflowRun,
  workflowRun,
} from "../../../test/kit/workflow-run.ts";

const runs: WorkflowRun[] = [];
afterEach(async () => {
  await Promise.all(runs.splice(0).map((run) => run.close()));
});

const caught = { Type: "Pass", Parameters: { "caught.$": "$" }, End: true };
const wait = (seconds: number) => ({ Type: "Wait", Seconds: seconds, End: true });
const distributed = (states: Record<string, unknown>, more: object = {}) => ({
  Type: "Map",
  ItemProcessor: {
    ProcessorConfig: { Mode: "DISTRIBUTED", ExecutionType: "EXPRESS" },
    StartAt: Object.keys(states)[0],
    States: states,
  },
  ...("Next" in more ? {} : { End: true }),
  ...more,
});

function make(states: Record<string, unknown>, functions: TestFunctions = {}): WorkflowRun {
  const run = workflowRun({ m: machineOf(states) }, { functions });
  runs.push(run);
  return run;
}

async function types(run: WorkflowRun): Promise<readonly string[]> {
  return (await run.workflows.history("m", "m")).map((item) => item.type);
}

const failsFor = (item: number) => (payload: unknown) => {
  if (payload === item) throw Object.assign(new Error("no"), { name: "One" });
  return payload;
};

describe("a distributed Map", () => {
  it("runs an execution for every item, results in order, and none of their events in its own history", async () => {
    const state = distributed(
      { Look: { Type: "Wait", SecondsPath: "$.at", Next: "Ask" }, Ask: taskOf("double") },
      {
        ItemsPath: "$.items",
        ItemSelector: { "at.$": "$$.Map.Item.Value", "index.$": "$$.Map.Item.Index", "all.$": "$.common" },
        ResultPath: "$.found",
      },
    );
    const double = (payload: unknown) => payload;
    const run = make({ A: state }, { double });
    const found = await run.run({ items: [3, 1, 2], common: 9 });
    expect(JSON.parse(found.output ?? "").found).toEqual([
      { at: 3, index: 0, all: 9 },
      { at: 1, index: 1, all: 9 },
      { at: 2, index: 2, all: 9 },
    ]);
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(3000);
    expect(await types(run)).toEqual([
      ...["ExecutionStarted", "MapStateEntered", "MapStateStarted", "MapRunStarted"],
      ...["MapRunSucceeded", "MapStateSucceeded", "MapStateExited", "ExecutionSucceeded"],
    ]);
  });

  it.each([
    [1, 10, 10],
    [4, 10, 3],
    [0, 300, 1],
    [200, 300, 2],
  ])("with %d at once runs %d items in %d rounds", async (atOnce, items, rounds) => {
    const run = make({ A: distributed({ W: wait(10) }, { ItemsPath: "$.items", MaxConcurrencyPath: "$.atOnce" }) });
    const found = await run.run({ atOnce, items: Array.from({ length: items }, (_, i) => i) });
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(rounds * 10_000);
  });

  it.each(["many", -1, 1.5, null])("with %j at once ends the execution", async (atOnce) => {
    const run = make({ A: distributed({ W: wait(1) }, { ItemsPath: "$.items", MaxConcurrencyPath: "$.atOnce" }) });
    expect(await run.run({ atOnce, items: [1] })).toMatchObject({ status: "FAILED", error: "States.Runtime" });
  });

  it("fails by its own error with the first item that does, is retried as a whole and then caught", async () => {
    const state = distributed(
      { T: taskOf("f", { Retry: [{ ErrorEquals: ["One"], IntervalSeconds: 1, MaxAttempts: 1 }] }) },
      {
        ToleratedFailureCount: 0,
        MaxConcurrency: 1,
        Retry: [{ ErrorEquals: ["States.ExceedToleratedFailureThreshold"], IntervalSeconds: 7, MaxAttempts: 1 }],
        Catch: [{ ErrorEquals: ["States.ALL"], Next: "C" }],
      },
    );
    const run = make({ A: state, C: caught }, { f: failsFor(1) });
    const found = await run.run([0, 1, 2]);
    expect(JSON.parse(found.output ?? "")).toMatchObject({
      caught: { Error: "States.ExceedToleratedFailureThreshold" },
    });
    expect(run.calls.map(({ payload }) => payload)).toEqual([0, 1, 1, 0, 1, 1]);
    const seen = await types(run);
    expect(seen.filter((type) => type === "MapRunFailed")).toHaveLength(2);
    expect(seen.filter((type) => type === "MapStateFailed")).toHaveLength(1);
  });

  it("does not let an item run for longer than five minutes", async () => {
    const run = make({ A: distributed({ W: wait(301) }) });
    const found = await run.run([1]);
    expect(found).toMatchObject({ status: "FAILED", error: "States.ExceedToleratedFailureThreshold" });
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(300_000);
    expect(await make({ A: distributed({ W: wait(299) }) }).run([1])).toMatchObject({ status: "SUCCEEDED" });
  });

  it("gives an item's execution no item of its own and another name", async () => {
    const look = { Type: "Pass", Parameters: { "name.$": "$$.Execution.Name", "input.$": "$$.Execution.Input" } };
    const found = await make({ A: distributed({ P: { ...look, End: true } }) }).run(["x", "y"]);
    expect(JSON.parse(found.output ?? "")).toEqual([
      { name: "m:0", input: "x" },
      { name: "m:1", input: "y" },
    ]);
    const item = { Type: "Pass", InputPath: "$$.Map.Item.Value", End: true };
    expect(await make({ A: distributed({ P: item }) }).run(["x"])).toMatchObject({ status: "FAILED" });
  });

  it("is gone with its execution", async () => {
    const run = make({ A: distributed({ W: wait(100) }) });
    await run.workflows.start("m", "m", "[1,2]");
    await run.clock.settle();
    await run.workflows.stop("m", "m", "E", "c");
    await run.clock.advance(400_000);
    expect(run.clock.sleeping).toBe(0);
  });
});

describe("after a restart", () => {
  it("only the items begin again that had not ended", async () => {
    const folder = await mkdtemp(join(tmpdir(), "farshore-distributed-"));
    try {
      const file = join(folder, "workflows.sqlite");
      const clock = new VirtualClock();
      const states = { A: distributed({ First: taskOf("f", { Next: "Second" }), Second: taskOf("g") }) };
      const called: string[] = [];
      const life = (gate: Promise<void>) =>
        workflowRun(
          { m: machineOf(states) },
          {
            ...{ file, clock },
            functions: {
              f: (payload) => {
                called.push(`f${payload}`);
                return payload;
              },
              g: async (payload) => {
                called.push(`g${payload}`);
                if (payload !== 0) await gate;
                return payload;
              },
            },
          },
        );
      const first = life(new Promise(() => {}));
      await first.workflows.start("m", "m", "[0,1]");
      await clock.settle();
      expect(called.sort()).toEqual(["f0", "f1", "g0", "g1"]);
      await first.close();
      called.length = 0;
      const second = life(Promise.resolve());
      await second.workflows.resume();
      expect(await second.ended("m", "m")).toMatchObject({ status: "SUCCEEDED", output: "[0,1]" });
      expect(called).toEqual(["f1", "g1"]);
      await second.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("a document is refused", () => {
  const of = (more: object, states: Record<string, unknown> = { W: wait(1) }) =>
    machineOf({ A: { ...distributed(states), ...more } });
  const processor = (config: object, states: Record<string, unknown> = { W: wait(1) }) => ({
    ItemProcessor: { ProcessorConfig: config, StartAt: Object.keys(states)[0], States: states },
  });
  it.each([
    ["with STANDARD items", of(processor({ Mode: "DISTRIBUTED", ExecutionType: "STANDARD" })), "ExecutionType"],
    ["without a type of its items", of(processor({ Mode: "DISTRIBUTED" })), "ExecutionType"],
    ["of another mode", of(processor({ Mode: "SPREAD" })), "Mode"],
    ["with a token in an item", of({}, { T: tokenTaskOf("keep") }), "Resource"],
    ["with another one inside", of({}, { In: distributed({ W: wait(1) }) }), "ProcessorConfig"],
    ["that tolerates failures", of({ ToleratedFailurePercentage: 5 }), "ToleratedFailurePercentage"],
    ["with two concurrencies", of({ MaxConcurrency: 5, MaxConcurrencyPath: "$.a" }), "MaxConcurrencyPath"],
    ["with an ItemReader", of({ ItemReader: { Resource: "arn:aws:states:::s3:listObjectsV2" } }), "ItemReader"],
    ["with an ItemBatcher", of({ ItemBatcher: { MaxItemsPerBatch: 5 } }), "ItemBatcher"],
    ["with a ResultWriter", of({ ResultWriter: {} }), "ResultWriter"],
  ])("%s", (_, document, field) => {
    expect(() => workflowRun({ m: document })).toThrow(
      expect.objectContaining({ name: "InvalidDefinition", message: expect.stringContaining(field) }),
    );
  });
});
