import { describe, expect, it } from "vitest";
import { machineOf, taskOf, tokenTaskOf } from "../../../test/kit/workflow-run.ts";
import { parseMachine, substitute } from "./definition.ts";
import { toJson } from "./json.ts";

const parse = (document: unknown) => parseMachine(toJson(document));
const pass = { Type: "Pass", End: true };
const inner = { StartAt: "In", States: { In: { Type: "Succeed" } } };
const map = { Type: "Map", ItemProcessor: inner, End: true };

const whole = {
  Comment: "everything at once",
  Version: "1.0",
  QueryLanguage: "JSONPath",
  TimeoutSeconds: 60,
  StartAt: "Task",
  States: {
    Task: {
      ...taskOf("f", { Next: "Token" }),
      Comment: "c",
      InputPath: "$.a",
      ResultPath: "$.r",
      TimeoutSecondsPath: "$.t",
      Retry: [
        { ErrorEquals: ["A"], Comment: "c" },
        { ErrorEquals: ["States.ALL"], JitterStrategy: "NONE" },
      ],
      Catch: [{ ErrorEquals: ["States.ALL"], Next: "Fail", ResultPath: "$.error", Comment: "c" }],
    },
    Token: tokenTaskOf("f", { Next: "Pass", TimeoutSeconds: 10, HeartbeatSecondsPath: "$.h" }),
    Pass: {
      Type: "Pass",
      Result: { "a.$": "kept as it is" },
      ResultPath: null,
      InputPath: null,
      OutputPath: null,
      Next: "Wait",
    },
    Wait: { Type: "Wait", Timestamp: "2030-01-01T00:00:00Z", Next: "Choice" },
    Choice: {
      Type: "Choice",
      Choices: [{ Variable: "$.a", IsNull: true, Next: "Map", Comment: "c" }],
      Default: "Parallel",
    },
    Map: {
      ...map,
      ItemsPath: "$.list",
      MaxConcurrency: 3,
      ItemSelector: { "v.$": "$$.Map.Item.Value" },
      Next: "Done",
      End: undefined,
    },
    Parallel: { Type: "Parallel", Branches: [{ StartAt: "B", States: { B: pass }, Comment: "c" }], End: true },
    Done: { Type: "Succeed" },
    Fail: { Type: "Fail", Error: "E", CausePath: "States.Format('{}', $.a)" },
  },
};

describe("a definition", () => {
  it("is read with everything that is known", () => {
    const machine = parse(whole);
    expect(machine).toMatchObject({ startAt: "Task", timeoutSeconds: 60 });
    expect([...machine.states.keys()].sort()).toEqual(
      ["B", "Choice", "Done", "Fail", "In", "Map", "Parallel", "Pass", "Task", "Token", "Wait"].sort(),
    );
    expect(machine.states.get("Token")).toMatchObject({ waitForToken: true, timeout: 10 });
    expect(machine.states.get("Task")).toMatchObject({ waitForToken: false, next: "Token", heartbeat: undefined });
  });

  it("refuses one more field anywhere, by its place", () => {
    const places: string[] = [];
    const visit = (value: unknown, at: string): void => {
      if (typeof value !== "object" || value === null) return;
      // Free data: whatever stands there is a payload, not a field.
      if (/Result$|ResultSelector$|Parameters\.Payload|ItemSelector$/.test(at)) return;
      if (!Array.isArray(value)) places.push(at);
      for (const [key, item] of Object.entries(value))
        visit(item, Array.isArray(value) ? `${at}[${key}]` : `${at}.${key}`);
    };
    visit(whole, "$");
    expect(places.length).toBeGreaterThan(20);
    for (const place of places) {
      const copy = JSON.parse(JSON.stringify(whole));
      const steps = place.replaceAll("[", ".").replaceAll("]", "").split(".").slice(1);
      const target = steps.reduce((value, step) => value[step], copy);
      target["Surprise"] = "x";
      expect(() => parse(copy), place).toThrow(expect.objectContaining({ name: "InvalidDefinition" }));
      expect(() => parse(copy), place).toThrow(`${place}.Surprise`);
    }
  });

  it.each<[string, unknown, string]>([
    ["no object", [], "$: must be an object"],
    ["no StartAt", { States: { A: pass } }, "$.StartAt: is missing"],
    ["no States", { StartAt: "A" }, "$.States: must be an object"],
    ["StartAt nowhere", { StartAt: "B", States: { A: pass } }, "$.StartAt: there is no state B"],
    ["JSONata", machineOf({ A: pass }, { QueryLanguage: "JSONata" }), "$.QueryLanguage"],
    ["another version", machineOf({ A: pass }, { Version: "2.0" }), "$.Version"],
    ["a timeout of 0", machineOf({ A: pass }, { TimeoutSeconds: 0 }), "$.TimeoutSeconds"],
    ["no Type", machineOf({ A: { End: true } }), "$.States.A.Type: is missing"],
    ["an unknown Type", machineOf({ A: { Type: "Loop", End: true } }), "$.States.A.Type"],
    ["neither Next nor End", machineOf({ A: { Type: "Pass" } }), "$.States.A.Next"],
    ["both Next and End", machineOf({ A: { ...pass, Next: "A" } }), "$.States.A.Next"],
    ["End false", machineOf({ A: { Type: "Pass", End: false } }), "$.States.A.End"],
    ["Next nowhere", machineOf({ A: { Type: "Pass", Next: "B" } }), "$.States.A.Next: there is no state B"],
    [
      "Next out of a branch",
      machineOf({
        A: { Type: "Parallel", Branches: [{ StartAt: "B", States: { B: { Type: "Pass", Next: "A" } } }], End: true },
      }),
      "$.States.A.Branches[0].States.B.Next",
    ],
    ["a name twice", machineOf({ In: { ...map } }), "another state has the same name"],
    ["a long name", machineOf({ ["x".repeat(81)]: pass }), "1 to 80"],
    ["a strange name in the path", machineOf({ "A b": { ...pass, X: 1 } }), "$.States['A b'].X"],
    ["Assign", machineOf({ A: { ...pass, Assign: {} } }), "$.States.A.Assign"],
    ["Output", machineOf({ A: { ...pass, Output: "x" } }), "$.States.A.Output"],
    ["a state's QueryLanguage", machineOf({ A: { ...pass, QueryLanguage: "JSONata" } }), "$.States.A.QueryLanguage"],
    ["Retry on Pass", machineOf({ A: { ...pass, Retry: [{ ErrorEquals: ["A"] }] } }), "$.States.A.Retry"],
    [
      "ResultPath on Wait",
      machineOf({ A: { Type: "Wait", Seconds: 1, ResultPath: "$.a", End: true } }),
      "$.States.A.ResultPath",
    ],
    ["InputPath on Fail", machineOf({ A: { Type: "Fail", InputPath: "$" } }), "$.States.A.InputPath"],
    [
      "Next on Choice",
      machineOf({ A: { Type: "Choice", Choices: [{ Variable: "$", IsNull: true, Next: "A" }], Next: "A" } }),
      "$.States.A.Next",
    ],
    ["no Choices", machineOf({ A: { Type: "Choice", Choices: [] } }), "$.States.A.Choices"],
    [
      "a rule without Next",
      machineOf({ A: { Type: "Choice", Choices: [{ Variable: "$", IsNull: true }] } }),
      "$.States.A.Choices[0].Next",
    ],
    ["Error and ErrorPath", machineOf({ A: { Type: "Fail", Error: "E", ErrorPath: "$.e" } }), "$.States.A.ErrorPath"],
    ["a Wait without a time", machineOf({ A: { Type: "Wait", End: true } }), "$.States.A.Seconds"],
    ["a Wait with two", machineOf({ A: { Type: "Wait", Seconds: 1, SecondsPath: "$.a", End: true } }), "exactly one"],
    ["a Wait in words", machineOf({ A: { Type: "Wait", Timestamp: "tomorrow", End: true } }), "$.States.A.Timestamp"],
    ["a negative Wait", machineOf({ A: { Type: "Wait", Seconds: -1, End: true } }), "$.States.A.Seconds"],
    [
      "another resource",
      machineOf({ A: { ...taskOf("f"), Resource: "arn:aws:states:::sqs:sendMessage" } }),
      "$.States.A.Resource",
    ],
    [
      "a resource that runs on",
      machineOf({ A: { ...taskOf("f"), Resource: "arn:aws:states:::lambda:invoke.sync" } }),
      "$.States.A.Resource",
    ],
    [
      "no FunctionName",
      machineOf({ A: { ...taskOf("f"), Parameters: { Payload: {} } } }),
      "$.States.A.Parameters.FunctionName",
    ],
    ["no Parameters", machineOf({ A: { ...taskOf("f"), Parameters: undefined } }), "$.States.A.Parameters"],
    [
      "InvocationType",
      machineOf({ A: { ...taskOf("f"), Parameters: { FunctionName: "f", InvocationType: "Event" } } }),
      "InvocationType",
    ],
    ["a token nobody gets", machineOf({ A: { ...tokenTaskOf("f"), Parameters: { FunctionName: "f" } } }), "Task.Token"],
    [
      "a token from nowhere",
      machineOf({ A: { ...taskOf("f"), Parameters: { FunctionName: "f", "Payload.$": "$$.Task.Token" } } }),
      "Task.Token",
    ],
    [
      "a heartbeat without a token",
      machineOf({ A: taskOf("f", { HeartbeatSeconds: 5 }) }),
      "$.States.A.HeartbeatSeconds",
    ],
    [
      "a heartbeat past the timeout",
      machineOf({ A: tokenTaskOf("f", { HeartbeatSeconds: 5, TimeoutSeconds: 5 }) }),
      "$.States.A.HeartbeatSeconds",
    ],
    [
      "both timeouts",
      machineOf({ A: taskOf("f", { TimeoutSeconds: 5, TimeoutSecondsPath: "$.t" }) }),
      "$.States.A.TimeoutSecondsPath",
    ],
    [
      "a computed field that isn't text",
      machineOf({ A: { ...pass, Parameters: { "a.$": 1 } } }),
      "$.States.A.Parameters.a.$",
    ],
    [
      "a computed field of a constant",
      machineOf({ A: { ...pass, Parameters: { "a.$": "text" } } }),
      "$.States.A.Parameters.a.$",
    ],
    ["a field given twice", machineOf({ A: { ...pass, Parameters: { "a.$": "$", a: 1 } } }), "$.States.A.Parameters"],
    [
      "ResultPath in the context",
      machineOf({ A: { ...pass, ResultPath: "$$.Execution.Name" } }),
      "$.States.A.ResultPath",
    ],
    ["ResultPath as a number", machineOf({ A: { ...pass, ResultPath: 1 } }), "$.States.A.ResultPath"],
    [
      "a Map of a mode that there isn't",
      machineOf({ A: { ...map, ItemProcessor: { ...inner, ProcessorConfig: { Mode: "SPREAD" } } } }),
      "ProcessorConfig.Mode",
    ],
    ["Iterator", machineOf({ A: { Type: "Map", Iterator: inner, End: true } }), "$.States.A.ItemProcessor"],
    ["Parameters on Map", machineOf({ A: { ...map, Parameters: {} } }), "$.States.A.Parameters"],
    ["ItemReader", machineOf({ A: { ...map, ItemReader: {} } }), "$.States.A.ItemReader"],
    ["too much concurrency", machineOf({ A: { ...map, MaxConcurrency: 41 } }), "$.States.A.MaxConcurrency"],
    ["no branches", machineOf({ A: { Type: "Parallel", Branches: [], End: true } }), "$.States.A.Branches"],
    [
      "Catch nowhere",
      machineOf({ A: taskOf("f", { Catch: [{ ErrorEquals: ["A"], Next: "B" }] }) }),
      "$.States.A.Catch[0].Next",
    ],
    [
      "Catch of States.Runtime",
      machineOf({ A: taskOf("f", { Catch: [{ ErrorEquals: ["States.Runtime"], Next: "A" }] }) }),
      "$.States.A.Catch[0].ErrorEquals",
    ],
  ])("refuses %s", (_, document, message) => {
    expect(() => parse(document)).toThrow(expect.objectContaining({ name: "InvalidDefinition" }));
    expect(() => parse(document)).toThrow(message);
  });

  it("refuses nesting without end", () => {
    let deep: unknown = inner;
    for (let i = 0; i < 40; i++) {
      deep = { StartAt: `P${i}`, States: { [`P${i}`]: { Type: "Parallel", Branches: [deep], End: true } } };
    }
    expect(() => parse(deep)).toThrow("nested too deep");
  });
});

describe("placeholders", () => {
  const hole = (name: string): string => `$${`{${name}}`}`;

  it("are replaced in every string", () => {
    const document = { a: hole("X"), b: [`x-${hole("X")}-${hole("Y")}`, 1, null], c: { d: "plain $ {X}" } };
    expect(substitute(document, { X: "1", Y: hole("X") })).toEqual({
      a: "1",
      b: [`x-1-${hole("X")}`, 1, null],
      c: { d: "plain $ {X}" },
    });
  });

  it.each(["Z", "", "toString"])("refuse the name %j without a value", (name) => {
    const document = { States: { A: [hole(name)] } };
    expect(() => substitute(document, { X: "1" })).toThrow("$.States.A[0]: no value for the placeholder");
    expect(() => substitute(document, {})).toThrow(expect.objectContaining({ name: "InvalidDefinition" }));
  });
});
