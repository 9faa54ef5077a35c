import { afterEach, describe, expect, it } from "vitest";
import {
  machineOf,
  taskOf,
  type WorkflowRun,
  type WorkflowRunOptions,
  workflowRun,
} from "../../../test/kit/workflow-run.ts";

const runs: WorkflowRun[] = [];
afterEach(async () => {
  await Promise.all(runs.splice(0).map((run) => run.close()));
});

function make(states: Record<string, unknown>, options: WorkflowRunOptions = {}): WorkflowRun {
  const run = workflowRun({ m: machineOf(states) }, options);
  runs.push(run);
  return run;
}

/** The output of a machine of these states. */
async function output(
  states: Record<string, unknown>,
  input: unknown,
  options: WorkflowRunOptions = {},
): Promise<unknown> {
  const found = await make(states, options).run(input);
  expect(found).toMatchObject({ status: "SUCCEEDED" });
  return JSON.parse(found.output ?? "");
}

const pass = (more: object) => ({ A: { Type: "Pass", End: true, ...more } });

describe("Pass", () => {
  it.each<[string, object, unknown]>([
    ["hands its input on", {}, { a: { b: 1 }, c: [2, 3] }],
    ["takes a part by InputPath, all of it by ResultPath", { InputPath: "$.a" }, { b: 1 }],
    ["gives {} for InputPath null", { InputPath: null }, {}],
    ["gives {} for OutputPath null", { OutputPath: null }, {}],
    ["drops its result for ResultPath null", { Result: 9, ResultPath: null, OutputPath: "$.a" }, { b: 1 }],
    ["replaces everything by Result", { Result: { x: null } }, { x: null }],
    [
      "puts Result into the raw input",
      { InputPath: "$.a", Result: 9, ResultPath: "$.a.d" },
      { a: { b: 1, d: 9 }, c: [2, 3] },
    ],
    [
      "fills Parameters from the effective input",
      { InputPath: "$.a", Parameters: { "x.$": "$.b", y: { "z.$": "$" } } },
      { x: 1, y: { z: { b: 1 } } },
    ],
    ["takes a part of the outcome by OutputPath", { Result: 9, ResultPath: "$.d.e", OutputPath: "$.d" }, { e: 9 }],
    [
      "keeps arrays in Parameters",
      { Parameters: { list: [{ "x.$": "$.c[1]" }, "plain"] } },
      { list: [{ x: 3 }, "plain"] },
    ],
    ["computes with intrinsics", { Parameters: { "s.$": "States.Format('{}-{}', $.a.b, $.c[0])" } }, { s: "1-2" }],
  ])("%s", async (_, more, expected) => {
    expect(await output(pass(more), { a: { b: 1 }, c: [2, 3] })).toEqual(expected);
  });

  it("goes on to Next", async () => {
    const states = {
      A: { Type: "Pass", Result: 1, Next: "B" },
      B: { Type: "Pass", Parameters: { "was.$": "$" }, End: true },
    };
    expect(await output(states, {})).toEqual({ was: 1 });
  });

  it.each<[string, object, string]>([
    ["InputPath", { InputPath: "$.none" }, "States.Runtime"],
    ["OutputPath", { OutputPath: "$.none" }, "States.Runtime"],
    ["Parameters", { Parameters: { "a.$": "$.none" } }, "States.Runtime"],
    ["an intrinsic", { Parameters: { "a.$": "States.MathAdd($.a, 1)" } }, "States.IntrinsicFailure"],
    ["ResultPath", { ResultPath: "$.c.d" }, "States.ResultPathMatchFailure"],
    ["a size", { Parameters: { "a.$": "States.Array($.big, $.big, $.big)" } }, "States.DataLimitExceeded"],
  ])("fails by %s", async (_, more, error) => {
    const found = await make(pass(more)).run({ a: "text", c: [2, 3], big: "x".repeat(100_000) });
    expect(found).toMatchObject({ status: "FAILED", error });
  });
});

describe("the context object", () => {
  it("tells of the execution and the state", async () => {
    const parameters = {
      "id.$": "$$.Execution.Id",
      "name.$": "$$.Execution.Name",
      "input.$": "$$.Execution.Input.x",
      "started.$": "$$.Execution.StartTime",
      "state.$": "$$.State.Name",
      "entered.$": "$$.State.EnteredTime",
      "retries.$": "$$.State.RetryCount",
      "machine.$": "$$.StateMachine.Name",
    };
    const states = {
      W: { Type: "Wait", Seconds: 90, Next: "A" },
      A: { Type: "Pass", InputPath: "$$.Execution.Input", Parameters: parameters, End: true },
    };
    expect(await output(states, { x: 7 })).toEqual({
      id: "m:m",
      name: "m",
      input: 7,
      started: "2030-01-01T12:00:00.000Z",
      state: "A",
      entered: "2030-01-01T12:01:30.000Z",
      retries: 0,
      machine: "m",
    });
  });

  it("has no Map outside of one", async () => {
    const found = await make(pass({ Parameters: { "a.$": "$$.Map.Item.Index" } })).run();
    expect(found).toMatchObject({ status: "FAILED", error: "States.Runtime" });
  });
});

describe("Wait", () => {
  it.each<[string, object, number]>([
    ["Seconds", { Seconds: 90 }, 90],
    ["Seconds 0", { Seconds: 0 }, 0],
    ["SecondsPath", { InputPath: "$.in", SecondsPath: "$.s" }, 7],
    ["SecondsPath from the context", { SecondsPath: "$$.Execution.Input.in.s" }, 7],
    ["Timestamp", { Timestamp: "2030-01-01T12:00:10.500Z" }, 10.5],
    ["Timestamp in the past", { Timestamp: "2029-01-01T12:00:10Z" }, 0],
    ["TimestampPath", { TimestampPath: "$.t" }, 60],
    ["three years", { Seconds: 99_999_999 }, 99_999_999],
  ])("%s", async (_, more, seconds) => {
    const run = make({
      A: { Type: "Wait", End: true, OutputPath: "$.in", ...more, ...("InputPath" in more ? { OutputPath: "$" } : {}) },
    });
    const found = await run.run({ in: { s: 7 }, t: "2030-01-01T14:01:00+02:00" });
    expect(found).toMatchObject({ status: "SUCCEEDED", output: '{"s":7}' });
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(seconds * 1000);
  });

  it.each<[object, unknown]>([
    [{ SecondsPath: "$.s" }, {}],
    [{ SecondsPath: "$.s" }, { s: -1 }],
    [{ SecondsPath: "$.s" }, { s: 1.5 }],
    [{ SecondsPath: "$.s" }, { s: "5" }],
    [{ SecondsPath: "$.s" }, { s: 100_000_000 }],
    [{ TimestampPath: "$.s" }, { s: 5 }],
    [{ TimestampPath: "$.s" }, { s: "2030-01-01 12:00:00Z" }],
    [{ TimestampPath: "$.s" }, { s: "2030-01-01T12:00:00" }],
    [{ TimestampPath: "$.s" }, { s: "2030-13-01T12:00:00Z" }],
  ])("%j of %j ends the execution", async (more, input) => {
    const found = await make({ A: { Type: "Wait", End: true, ...more } }).run(input);
    expect(found).toMatchObject({ status: "FAILED", error: "States.Runtime" });
  });
});

describe("Choice", () => {
  const states = {
    A: {
      Type: "Choice",
      InputPath: "$.in",
      OutputPath: "$.out",
      Choices: [
        { Variable: "$.n", NumericGreaterThan: 10, Next: "Big" },
        { Variable: "$.n", NumericGreaterThan: 5, Next: "Middle" },
      ],
      Default: "Small",
    },
    Big: { Type: "Pass", Parameters: { "big.$": "$" }, End: true },
    Middle: { Type: "Pass", Parameters: { "middle.$": "$" }, End: true },
    Small: { Type: "Pass", Parameters: { "small.$": "$" }, End: true },
  };

  it.each([
    [11, "big"],
    [10, "middle"],
    [5, "small"],
  ])("takes the first rule that holds for %d: %s", async (n, name) => {
    expect(await output(states, { in: { n, out: "o" } })).toEqual({ [name]: "o" });
  });

  it("fails when nothing matches and there is no Default", async () => {
    const found = await make({ ...states, A: { ...states.A, Default: undefined } }).run({ in: { n: 1, out: "o" } });
    expect(found).toMatchObject({ status: "FAILED", error: "States.NoChoiceMatched" });
  });
});

describe("Succeed and Fail", () => {
  it("Succeed filters by InputPath and OutputPath", async () => {
    expect(await output({ A: { Type: "Succeed", InputPath: "$.a", OutputPath: "$.b" } }, { a: { b: 1 } })).toBe(1);
  });

  it.each<[object, string, string]>([
    [{ Error: "E", Cause: "c" }, "E", "c"],
    [{ ErrorPath: "$.e", CausePath: "States.Format('{}!', $.c)" }, "InE", "inC!"],
    [{ ErrorPath: "$$.Execution.Input.e" }, "InE", ""],
    [{}, "", ""],
    [{ ErrorPath: "$.none" }, "States.Runtime", "A.Error: the path $.none selects nothing"],
    [{ Error: "E", CausePath: "$.n" }, "States.Runtime", "A.Cause is not a string"],
  ])("Fail with %j", async (more, error, cause) => {
    const found = await make({ A: { Type: "Fail", ...more } }).run({ e: "InE", c: "inC", n: 1 });
    expect(found).toMatchObject({ status: "FAILED", error, cause });
  });
});

describe("placeholders of the deployment", () => {
  it("are filled before the run", async () => {
    const name = "$".concat("{Function}");
    const options = { functions: { real: () => "done" }, substitutions: { Function: "real" } };
    expect(await output({ A: taskOf(name) }, {}, options)).toBe("done");
  });
});
