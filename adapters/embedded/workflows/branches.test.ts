import { afterEach, describe, expect, it } from "vitest";
import {
  machineOf,
  type TestFunctions,
  taskOf,
  tokenIn,
  tokenTaskOf,
  type WorkflowRun,
  workflowRun,
} from "../../../test/kit/workflow-run.ts";

const runs: WorkflowRun[] = [];
afterEach(async () => {
  await Promise.all(runs.splice(0).map((run) => run.close()));
});

function make(states: Record<string, unknown>, functions: TestFunctions = {}): WorkflowRun {
  const run = workflowRun({ m: machineOf(states) }, { functions });
  runs.push(run);
  return run;
}

async function types(run: WorkflowRun): Promise<readonly string[]> {
  return (await run.workflows.history("m", "m")).map((item) => item.type);
}

const caught = { Type: "Pass", Parameters: { "caught.$": "$" }, End: true };
const map = (states: Record<string, unknown>, more: object = {}) => ({
  Type: "Map",
  ItemProcessor: { ProcessorConfig: { Mode: "INLINE" }, StartAt: Object.keys(states)[0], States: states },
  ...("Next" in more ? {} : { End: true }),
  ...more,
});
const parallel = (branches: Record<string, unknown>[], more: object = {}) => ({
  Type: "Parallel",
  Branches: branches.map((states) => ({ StartAt: Object.keys(states)[0], States: states })),
  ...("Next" in more ? {} : { End: true }),
  ...more,
});
const wait = (seconds: number) => ({ Type: "Wait", Seconds: seconds, End: true });

describe("Map", () => {
  it("runs its processor on every item, results in order", async () => {
    const states = { A: map({ W: { Type: "Wait", SecondsPath: "$", End: true } }) };
    const run = make(states);
    const found = await run.run([3, 1, 2]);
    expect(found).toMatchObject({ status: "SUCCEEDED", output: "[3,1,2]" });
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(3000);
    const seen = await types(run);
    expect(seen.slice(0, 3)).toEqual(["ExecutionStarted", "MapStateEntered", "MapStateStarted"]);
    expect(seen.filter((type) => type === "MapIterationSucceeded")).toHaveLength(3);
    expect(seen.slice(-3)).toEqual(["MapStateSucceeded", "MapStateExited", "ExecutionSucceeded"]);
  });

  it("takes ItemsPath, ItemSelector with the item, ResultSelector and ResultPath", async () => {
    const state = map(
      { P: { Type: "Pass", Parameters: { "in.$": "$", "deep.$": "$$.Map.Item.Value.v" }, End: true } },
      {
        InputPath: "$.in",
        ItemsPath: "$.items",
        ItemSelector: { "i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value.v", "all.$": "$.common" },
        ResultSelector: { "all.$": "$", "first.$": "$[0].deep" },
        ResultPath: "$.result",
        OutputPath: "$.result",
      },
    );
    const found = await make({ A: state }).run({ in: { items: [{ v: "a" }, { v: "b" }], common: 9 } });
    expect(JSON.parse(found.output ?? "")).toEqual({
      first: "a",
      all: [
        { in: { i: 0, v: "a", all: 9 }, deep: "a" },
        { in: { i: 1, v: "b", all: 9 }, deep: "b" },
      ],
    });
  });

  it("of nothing gives nothing", async () => {
    const run = make({ A: map({ F: { Type: "Fail" } }) });
    expect(await run.run([])).toMatchObject({ status: "SUCCEEDED", output: "[]" });
    expect(await types(run)).not.toContain("MapIterationStarted");
  });

  it.each([{}, null, "text", 5])("of %j ends the execution", async (input) => {
    const run = make({ A: map({ P: wait(1) }, { Catch: [{ ErrorEquals: ["States.ALL"], Next: "C" }] }), C: caught });
    expect(await run.run(input)).toMatchObject({ status: "FAILED", error: "States.Runtime" });
  });

  it.each([
    [1, 10, 10],
    [3, 10, 4],
    [0, 10, 1],
    [0, 80, 2],
  ])("with MaxConcurrency %d runs %d items in %d rounds", async (MaxConcurrency, items, rounds) => {
    const run = make({ A: map({ W: wait(10) }, { MaxConcurrency }) });
    const found = await run.run(Array.from({ length: items }, (_, i) => i));
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(rounds * 10_000);
  });

  it("fails with its first failure and abandons the rest", async () => {
    const functions = {
      f: (payload: unknown) => {
        if (payload === 1) throw Object.assign(new Error("one"), { name: "One" });
        return new Promise(() => {});
      },
    };
    const run = make({ A: map({ T: taskOf("f") }, { MaxConcurrency: 2 }) }, functions);
    expect(await run.run([0, 1, 2])).toMatchObject({ status: "FAILED", error: "One" });
    expect(run.calls).toHaveLength(2);
    const seen = await types(run);
    expect(seen.slice(-6)).toEqual([
      "TaskFailed",
      "MapIterationFailed",
      "TaskStateAborted",
      "MapIterationAborted",
      "MapStateFailed",
      "ExecutionFailed",
    ]);
  });

  it("starts no further item once one has failed, though another is done in the same moment", async () => {
    const gate = Promise.withResolvers<void>();
    const f = async (payload: unknown) => {
      await gate.promise;
      if (payload === 0) throw new Error("zero");
      return payload;
    };
    const run = make({ A: map({ T: taskOf("f") }, { MaxConcurrency: 2 }) }, { f });
    await run.workflows.start("m", "m", "[0,1,2]");
    await run.clock.settle();
    gate.resolve();
    expect(await run.ended("m", "m")).toMatchObject({ status: "FAILED", error: "Error" });
    expect((await types(run)).filter((type) => type === "MapIterationStarted")).toHaveLength(2);
  });

  it("is retried as a whole, then caught", async () => {
    const seen: unknown[] = [];
    const functions = {
      f: (payload: unknown) => {
        seen.push(payload);
        if (payload === 1) throw Object.assign(new Error("one"), { name: "One" });
        return payload;
      },
    };
    const state = map(
      { T: taskOf("f") },
      {
        Retry: [{ ErrorEquals: ["One"], MaxAttempts: 1 }],
        Catch: [{ ErrorEquals: ["States.TaskFailed"], Next: "C", ResultPath: null }],
      },
    );
    const run = make({ A: state, C: caught }, functions);
    expect(await run.run([0, 1])).toMatchObject({ output: '{"caught":[0,1]}' });
    expect(seen).toEqual([0, 1, 0, 1]);
    const history = await types(run);
    expect(history.filter((type) => type === "MapStateEntered")).toHaveLength(1);
    expect(history.filter((type) => type === "MapStateStarted")).toHaveLength(2);
    expect(history.filter((type) => type === "MapStateFailed")).toHaveLength(1);
  });

  it("lets an iteration catch for itself", async () => {
    const states = {
      T: taskOf("f", { Catch: [{ ErrorEquals: ["States.ALL"], Next: "Q", ResultPath: null }] }),
      Q: { Type: "Pass", Result: "saved", End: true },
    };
    const f = (payload: unknown) => {
      if (payload === 1) throw new Error("one");
      return payload;
    };
    expect(await make({ A: map(states) }, { f }).run([0, 1, 2])).toMatchObject({ output: '[0,"saved",2]' });
  });

  it("does not catch States.Runtime of an iteration", async () => {
    const state = map(
      { P: { Type: "Pass", InputPath: "$.none", End: true } },
      { Catch: [{ ErrorEquals: ["States.ALL"], Next: "C" }] },
    );
    expect(await make({ A: state, C: caught }).run([{}])).toMatchObject({ status: "FAILED", error: "States.Runtime" });
  });

  it("nests, each with its own item", async () => {
    const inner = map(
      { P: { Type: "Pass", Parameters: { "i.$": "$$.Map.Item.Index", "v.$": "$" }, End: true } },
      { ItemSelector: { "v.$": "$$.Map.Item.Value" } },
    );
    const found = await make({ A: map({ In: inner }) }).run([["a", "b"], ["c"]]);
    expect(JSON.parse(found.output ?? "")).toEqual([
      [
        { i: 0, v: { v: "a" } },
        { i: 1, v: { v: "b" } },
      ],
      [{ i: 0, v: { v: "c" } }],
    ]);
  });
});

describe("Parallel", () => {
  it("gives every branch the input, results in order of the branches", async () => {
    const branches = [{ W: wait(5) }, { P: { Type: "Pass", Parameters: { "p.$": "$.a" }, End: true } }];
    const run = make({
      A: parallel(branches, { Parameters: { "a.$": "$.x" }, ResultSelector: { "r.$": "$" }, ResultPath: "$.y" }),
    });
    const found = await run.run({ x: 1 });
    expect(JSON.parse(found.output ?? "")).toEqual({ x: 1, y: { r: [{ a: 1 }, { p: 1 }] } });
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(5000);
    const seen = await types(run);
    expect(seen).toContain("ParallelStateStarted");
    expect(seen).toContain("ParallelStateSucceeded");
    expect(seen.filter((type) => type.startsWith("MapIteration"))).toEqual([]);
  });

  it("fails with a branch, whose waiting siblings are abandoned and whose tokens are spent", async () => {
    const run = make(
      {
        A: parallel(
          [
            { T: tokenTaskOf("keep") },
            { W: { Type: "Wait", Seconds: 5, Next: "F" }, F: { Type: "Fail", Error: "E", Cause: "c" } },
          ],
          { Catch: [{ ErrorEquals: ["E"], Next: "C" }] },
        ),
        C: caught,
      },
      { keep: () => null },
    );
    await run.workflows.start("m", "m", "{}");
    await run.clock.settle();
    const token = tokenIn(run.calls[0]?.payload);
    expect(await run.ended("m", "m")).toMatchObject({ output: '{"caught":{"Error":"E","Cause":"c"}}' });
    await expect(run.workflows.succeed(token, "1")).rejects.toMatchObject({ name: "TaskTimedOut" });
    const seen = await types(run);
    expect(seen.slice(seen.indexOf("FailStateEntered"), seen.indexOf("PassStateEntered"))).toEqual([
      "FailStateEntered",
      "TaskStateAborted",
      "ParallelStateFailed",
      "ParallelStateExited",
    ]);
  });

  it("is retried as a whole", async () => {
    let calls = 0;
    const f = () => {
      if (calls++ === 0) throw new Error("first");
      return calls;
    };
    const run = make(
      {
        A: parallel([{ T: taskOf("f") }, { W: wait(1) }], { Retry: [{ ErrorEquals: ["Error"], IntervalSeconds: 10 }] }),
      },
      { f },
    );
    const found = await run.run({});
    expect(found).toMatchObject({ status: "SUCCEEDED", output: "[2,{}]" });
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(11_000);
  });

  it("hands a heartbeat timeout of a branch to its own Catch", async () => {
    const state = parallel([{ T: tokenTaskOf("keep", { HeartbeatSeconds: 3 }) }], {
      Catch: [{ ErrorEquals: ["States.HeartbeatTimeout"], Next: "C" }],
    });
    expect(await make({ A: state, C: caught }, { keep: () => null }).run()).toMatchObject({ status: "SUCCEEDED" });
  });

  it("carries the item of the Map around it", async () => {
    const state = map(
      { In: parallel([{ P: { Type: "Pass", InputPath: "$$.Map.Item.Value", End: true } }]) },
      { ItemSelector: {} },
    );
    expect(await make({ A: state }).run(["a", "b"])).toMatchObject({ output: '[["a"],["b"]]' });
  });

  it("stops with its execution", async () => {
    const run = make({ A: parallel([{ W: wait(100) }, { T: tokenTaskOf("keep") }]) }, { keep: () => null });
    await run.workflows.start("m", "m", "{}");
    await run.clock.settle();
    await run.workflows.stop("m", "m", "E", "c");
    await run.clock.advance(200_000);
    expect(run.clock.sleeping).toBe(0);
    expect(await run.workflows.describe("m", "m")).toMatchObject({ status: "ABORTED" });
    expect((await types(run)).at(-1)).toBe("ExecutionAborted");
  });
});
