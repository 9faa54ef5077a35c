import { afterEach, describe, expect, it } from "vitest";
import {
  machineOf,
  type TestFunctions,
  taskOf,
  type WorkflowRun,
  workflowRun,
} from "../../../test/kit/workflow-run.ts";

const runs: WorkflowRun[] = [];
afterEach(async () => {
  await Promise.all(runs.splice(0).map((run) => run.close()));
});

function make(states: Record<string, unknown>, functions: TestFunctions = {}, more: object = {}): WorkflowRun {
  const run = workflowRun({ m: machineOf(states, more) }, { functions });
  runs.push(run);
  return run;
}

class Refusal extends Error {
  override readonly name = "Refusal";
}

const refuse = (): never => {
  throw new Refusal("not today");
};

/** A function that fails `count` times with `Refusal`, then answers "done". */
function failing(count: number, name = "Refusal"): () => string {
  let left = count;
  return () => {
    if (left-- > 0) throw Object.assign(new Error("not yet"), { name });
    return "done";
  };
}

const caught = { Type: "Pass", Parameters: { "caught.$": "$" }, End: true };

/** The types of the history's events. */
async function types(run: WorkflowRun): Promise<readonly string[]> {
  return (await run.workflows.history("m", "m")).map((item) => item.type);
}

describe("a task's result", () => {
  it("comes as Lambda's invoke gives it", async () => {
    const run = make(
      { A: { ...taskOf("f"), ResultSelector: undefined, OutputPath: undefined } },
      { f: () => ({ x: undefined, y: [1] }) },
    );
    expect(JSON.parse((await run.run()).output ?? "")).toEqual({
      ExecutedVersion: "$LATEST",
      Payload: { y: [1] },
      StatusCode: 200,
    });
    expect(await types(run)).toEqual([
      "ExecutionStarted",
      "TaskStateEntered",
      "TaskScheduled",
      "TaskStarted",
      "TaskSucceeded",
      "TaskStateExited",
      "ExecutionSucceeded",
    ]);
  });

  it("goes through ResultSelector, ResultPath and OutputPath; the function gets Parameters of the effective input", async () => {
    const task = {
      ...taskOf("f"),
      InputPath: "$.in",
      Parameters: { "FunctionName.$": "$.name", Payload: { "n.$": "$.n", "who.$": "$$.Execution.Name" } },
      ResultSelector: { "sum.$": "$.Payload.sum" },
      ResultPath: "$.in.result",
      OutputPath: "$.in",
    };
    const run = make({ A: task }, { f: () => ({ sum: 3 }) });
    const found = await run.run({ in: { name: "f", n: 2 } });
    expect(JSON.parse(found.output ?? "")).toEqual({ name: "f", n: 2, result: { sum: 3 } });
    expect(run.calls).toEqual([{ name: "f", payload: { n: 2, who: "m" }, at: run.clock.now() }]);
  });

  it("is null for a function that answers nothing, and {} is its payload when none is given", async () => {
    const run = make({ A: taskOf("f", { Parameters: { FunctionName: "f" } }) }, { f: () => undefined });
    expect(await run.run()).toMatchObject({ status: "SUCCEEDED", output: "null" });
    expect(run.calls).toMatchObject([{ payload: {} }]);
  });

  it("fails when it cannot be JSON", async () => {
    const run = make({ A: taskOf("f") }, { f: () => 1n });
    expect(await run.run()).toMatchObject({ status: "FAILED", error: "Runtime.MarshalError" });
  });

  it("gives each function its own copy of the payload", async () => {
    const change = (payload: unknown) => Object.assign(Object(payload), { changed: true });
    const run = make({ A: taskOf("f", { ResultPath: "$.r", OutputPath: "$.a" }) }, { f: change });
    expect(await run.run({ a: { b: 1 } })).toMatchObject({ output: '{"b":1}' });
  });

  it("may not be larger than the payload bound", async () => {
    const large = { f: () => "x".repeat(262_145) };
    const some = make({ A: taskOf("f", { Catch: [{ ErrorEquals: ["States.ALL"], Next: "C" }] }), C: caught }, large);
    expect(await some.run()).toMatchObject({ status: "FAILED", error: "States.DataLimitExceeded" });
    const named = make(
      { A: taskOf("f", { Catch: [{ ErrorEquals: ["States.DataLimitExceeded"], Next: "C" }] }), C: caught },
      large,
    );
    expect(await named.run()).toMatchObject({ status: "SUCCEEDED" });
    expect(await types(named)).toContain("TaskFailed");
  });
});

describe("a task's error", () => {
  it("is the thrown error's name, with Lambda's cause", async () => {
    const run = make({ A: taskOf("f") }, { f: refuse });
    const cause = '{"errorType":"Refusal","errorMessage":"not today","trace":[]}';
    expect(await run.run()).toMatchObject({ status: "FAILED", error: "Refusal", cause });
    const failed = (await run.workflows.history("m", "m")).find((item) => item.type === "TaskFailed");
    expect(failed).toMatchObject({ state: "A", details: { error: "Refusal", cause, resource: "invoke" } });
  });

  it("is named for what is no Error too", async () => {
    const run = make({ A: taskOf("f") }, { f: () => Promise.reject("text") });
    expect(await run.run()).toMatchObject({
      error: "string",
      cause: '{"errorType":"string","errorMessage":"text","trace":[]}',
    });
  });

  it("is States.Runtime when FunctionName is not a string", async () => {
    const run = make({
      A: taskOf("f", { Parameters: { "FunctionName.$": "$.n" }, Catch: [{ ErrorEquals: ["States.ALL"], Next: "C" }] }),
      C: caught,
    });
    expect(await run.run({ n: 1 })).toMatchObject({ status: "FAILED", error: "States.Runtime" });
  });
});

describe("Retry", () => {
  it("calls again after growing delays, within one visit of the state", async () => {
    const run = make(
      { A: taskOf("f", { Retry: [{ ErrorEquals: ["Refusal"], IntervalSeconds: 2, BackoffRate: 3 }] }) },
      { f: failing(3) },
    );
    expect(await run.run()).toMatchObject({ status: "SUCCEEDED", output: '"done"' });
    const start = run.calls[0]?.at ?? 0;
    expect(run.calls.map((call) => (call.at - start) / 1000)).toEqual([0, 2, 8, 26]);
    expect((await types(run)).filter((type) => type === "TaskStateEntered")).toHaveLength(1);
    expect((await types(run)).filter((type) => type === "TaskFailed")).toHaveLength(3);
  });

  it("gives up after MaxAttempts, then Catch decides", async () => {
    const retry = {
      Retry: [{ ErrorEquals: ["States.TaskFailed"], MaxAttempts: 1 }],
      Catch: [{ ErrorEquals: ["Refusal"], Next: "C" }],
    };
    const run = make({ A: taskOf("f", retry), C: caught }, { f: failing(2) });
    expect(await run.run()).toMatchObject({ status: "SUCCEEDED", output: expect.stringContaining("not yet") });
    expect(run.calls).toHaveLength(2);
  });

  it("counts each retrier by itself", async () => {
    const errors = ["A", "B", "A", "B", "A"];
    const f = (): never => {
      throw Object.assign(new Error(), { name: errors.shift() ?? "C" });
    };
    const run = make(
      {
        A: taskOf("f", {
          Retry: [
            { ErrorEquals: ["A"], MaxAttempts: 2 },
            { ErrorEquals: ["B"], MaxAttempts: 2 },
          ],
        }),
      },
      { f },
    );
    expect(await run.run()).toMatchObject({ status: "FAILED", error: "A" });
    expect(run.calls).toHaveLength(5);
  });

  it("starts counting anew when the state is entered again", async () => {
    const states = {
      A: taskOf("f", {
        Retry: [{ ErrorEquals: ["Refusal"], MaxAttempts: 1 }],
        ResultPath: "$.last",
        OutputPath: "$",
        Next: "B",
      }),
      B: { Type: "Choice", Choices: [{ Variable: "$.n", NumericGreaterThan: 1, Next: "D" }], Default: "C" },
      C: { Type: "Pass", Parameters: { n: 2 }, Next: "A" },
      D: { Type: "Succeed" },
    };
    let call = 0;
    const run = make(states, {
      f: () => {
        if (call++ % 2 === 0) refuse();
        return "ok";
      },
    });
    expect(await run.run({ n: 1 })).toMatchObject({ status: "SUCCEEDED" });
    expect(run.calls).toHaveLength(4);
  });

  it("tells the task how often it was retried", async () => {
    const parameters = { FunctionName: "f", Payload: { "n.$": "$$.State.RetryCount" } };
    const run = make(
      { A: taskOf("f", { Parameters: parameters, Retry: [{ ErrorEquals: ["States.ALL"] }] }) },
      { f: failing(2) },
    );
    await run.run();
    expect(run.calls.map((call) => call.payload)).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }]);
  });

  it("never applies to States.Runtime", async () => {
    const run = make(
      { A: taskOf("f", { OutputPath: "$.none", Retry: [{ ErrorEquals: ["States.ALL"] }] }) },
      { f: () => 1 },
    );
    expect(await run.run()).toMatchObject({ status: "FAILED", error: "States.Runtime" });
    expect(run.calls).toHaveLength(1);
  });
});

describe("Catch", () => {
  const error = { Error: "Refusal", Cause: '{"errorType":"Refusal","errorMessage":"not today","trace":[]}' };

  it.each<[string, object, unknown]>([
    ["replaces the input by the error", {}, error],
    ["puts the error into the raw input", { ResultPath: "$.error" }, { in: { a: 1 }, error }],
    ["drops the error for ResultPath null", { ResultPath: null }, { in: { a: 1 } }],
  ])("%s, whatever InputPath and OutputPath say", async (_, more, expected) => {
    const task = taskOf("f", {
      InputPath: "$.in",
      OutputPath: "$.none",
      Catch: [{ ErrorEquals: ["Refusal"], Next: "C", ...more }],
    });
    const run = make({ A: task, C: caught }, { f: refuse });
    expect(JSON.parse((await run.run({ in: { a: 1 } })).output ?? "")).toEqual({ caught: expected });
    expect(await types(run)).toContain("TaskStateExited");
  });

  it("takes the first catcher that matches", async () => {
    const catchers = [
      { ErrorEquals: ["Other", "States.Timeout"], Next: "B" },
      { ErrorEquals: ["Refusal"], Next: "C" },
      { ErrorEquals: ["States.ALL"], Next: "B" },
    ];
    const run = make({ A: taskOf("f", { Catch: catchers }), B: { Type: "Fail" }, C: caught }, { f: refuse });
    expect(await run.run()).toMatchObject({ status: "SUCCEEDED" });
  });

  it("fails by its own ResultPath where that does not fit", async () => {
    const run = make(
      { A: taskOf("f", { Catch: [{ ErrorEquals: ["States.ALL"], Next: "C", ResultPath: "$.a" }] }), C: caught },
      { f: refuse },
    );
    expect(await run.run([1])).toMatchObject({ status: "FAILED", error: "States.ResultPathMatchFailure" });
  });

  it("does not match another name", async () => {
    const run = make(
      { A: taskOf("f", { Catch: [{ ErrorEquals: ["refusal"], Next: "C" }] }), C: caught },
      { f: refuse },
    );
    expect(await run.run()).toMatchObject({ status: "FAILED", error: "Refusal" });
  });
});

describe("TimeoutSeconds", () => {
  const never = { f: () => new Promise(() => {}) };

  it.each<[string, object]>([
    ["a constant", { TimeoutSeconds: 30 }],
    ["a path", { TimeoutSecondsPath: "$.t" }],
  ])("ends the task by %s", async (_, more) => {
    const run = make({ A: taskOf("f", more) }, never);
    const found = await run.run({ t: 30 });
    expect(found).toMatchObject({ status: "FAILED", error: "States.Timeout", cause: "" });
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(30_000);
    expect(await types(run)).toEqual([
      "ExecutionStarted",
      "TaskStateEntered",
      "TaskScheduled",
      "TaskStarted",
      "TaskTimedOut",
      "ExecutionFailed",
    ]);
  });

  it("is about three years by default", async () => {
    const found = await make({ A: taskOf("f") }, never).run();
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(99_999_999_000);
  });

  it("is matched by States.Timeout and States.ALL, not by States.TaskFailed or States.HeartbeatTimeout", async () => {
    const names = ["States.TaskFailed", "States.HeartbeatTimeout"];
    const missed = make(
      { A: taskOf("f", { TimeoutSeconds: 5, Catch: [{ ErrorEquals: names, Next: "C" }] }), C: caught },
      never,
    );
    expect(await missed.run()).toMatchObject({ status: "FAILED", error: "States.Timeout" });
    const retry = {
      TimeoutSeconds: 5,
      Retry: [{ ErrorEquals: ["States.Timeout"], MaxAttempts: 2 }],
      Catch: [{ ErrorEquals: ["States.ALL"], Next: "C" }],
    };
    const taken = make({ A: taskOf("f", retry), C: caught }, never);
    expect(await taken.run()).toMatchObject({ output: '{"caught":{"Error":"States.Timeout","Cause":""}}' });
    expect(taken.calls).toHaveLength(3);
  });

  it.each([0, 1.5, "5", null])("read as %j ends the execution", async (t) => {
    const found = await make({ A: taskOf("f", { TimeoutSecondsPath: "$.t" }) }, never).run({ t });
    expect(found).toMatchObject({ status: "FAILED", error: "States.Runtime" });
  });

  it("of the machine ends the execution, caught or not", async () => {
    const run = make({ A: taskOf("f", { Catch: [{ ErrorEquals: ["States.ALL"], Next: "C" }] }), C: caught }, never, {
      TimeoutSeconds: 40,
    });
    const found = await run.run();
    expect(found).toMatchObject({ status: "TIMED_OUT", error: "States.Timeout" });
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(40_000);
    expect((await types(run)).at(-1)).toBe("ExecutionTimedOut");
  });

  it("ignores what the function answers later", async () => {
    let answer: (value: string) => void = () => {};
    const late = { f: () => new Promise((resolve) => (answer = resolve)) };
    const run = make(
      {
        A: taskOf("f", { TimeoutSeconds: 5, Catch: [{ ErrorEquals: ["States.Timeout"], Next: "W" }] }),
        W: { Type: "Wait", Seconds: 60, End: true },
      },
      late,
    );
    await run.workflows.start("m", "m", "{}");
    await run.clock.advance(10_000);
    answer("late");
    expect(await run.ended("m", "m")).toMatchObject({ output: '{"Error":"States.Timeout","Cause":""}' });
  });
});

describe("the history", () => {
  it("ends the execution at 25,000 events", async () => {
    const states = { A: { Type: "Pass", Next: "B" }, B: { Type: "Pass", Next: "A" } };
    const run = make(states);
    const found = await run.run();
    expect(found).toMatchObject({ status: "FAILED", error: "States.Runtime", cause: expect.stringContaining("25000") });
    const history = await run.workflows.history("m", "m");
    expect(history.length).toBeLessThanOrEqual(25_000);
    expect(history.length).toBeGreaterThan(24_990);
    expect(history.map((item) => item.id)).toEqual(history.map((_, i) => i + 1));
  });
});
