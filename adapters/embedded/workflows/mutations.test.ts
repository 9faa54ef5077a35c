import { describe, expect, it } from "vitest";
import { aslMutants } from "../../../test/kit/asl-mutations.ts";
import { validateAsl } from "../../../test/kit/validate-asl.ts";
import { machineOf, taskOf } from "../../../test/kit/workflow-run.ts";
import { parseMachine } from "./definition.ts";
import { toJson } from "./json.ts";

const document = machineOf({
  A: taskOf("f", {
    Next: "B",
    Retry: [
      { ErrorEquals: ["Busy"], MaxAttempts: 2 },
      { ErrorEquals: ["States.ALL"], MaxAttempts: 0 },
    ],
    Catch: [
      { ErrorEquals: ["Refusal"], Next: "C" },
      { ErrorEquals: ["States.ALL"], Next: "D" },
    ],
  }),
  B: { Type: "Choice", Choices: [{ Variable: "$.x", IsPresent: true, Next: "C" }], Default: "D" },
  C: {
    Type: "Parallel",
    Branches: [{ StartAt: "P", States: { P: { Type: "Pass", Next: "Q" }, Q: { Type: "Succeed" } } }],
    Next: "D",
  },
  D: {
    Type: "Map",
    ItemProcessor: { StartAt: "M", States: { M: taskOf("f", { Retry: [{ ErrorEquals: ["Busy"] }] }) } },
    End: true,
  },
});

describe("aslMutants", () => {
  const mutants = [...aslMutants(document)];

  it("are every change of a Next, Default, Catch or Retry", () => {
    expect(mutants.map((mutant) => mutant.label)).toEqual([
      "$.States.A.Next: B -> C",
      "$.States.A.Next: B -> End",
      "$.States.A.Catch[0].Next: C removed",
      "$.States.A.Catch[0].Next: C -> D",
      "$.States.A.Catch[1].Next: D removed",
      "$.States.A.Catch[1].Next: D -> B",
      "$.States.A.Retry[0]: removed",
      "$.States.A.Retry[0].ErrorEquals: Busy -> Mutant.Never",
      "$.States.A.Retry[0].MaxAttempts: -> 0",
      "$.States.A.Retry[1]: removed",
      "$.States.A.Retry[1].ErrorEquals: States.ALL -> Mutant.Never",
      "$.States.B.Default: D -> A",
      "$.States.B.Choices[0].Next: C -> D",
      "$.States.C.Next: D -> A",
      "$.States.C.Next: D -> End",
      "$.States.C.Branches[0].States.P.Next: Q -> P",
      "$.States.C.Branches[0].States.P.Next: Q -> End",
      "$.States.D.ItemProcessor.States.M.Retry[0]: removed",
      "$.States.D.ItemProcessor.States.M.Retry[0].ErrorEquals: Busy -> Mutant.Never",
      "$.States.D.ItemProcessor.States.M.Retry[0].MaxAttempts: -> 0",
    ]);
  });

  it("differ from the document and from each other, and each one can be run", () => {
    const texts = [document, ...mutants.map((mutant) => mutant.document)].map((item) => JSON.stringify(item));
    expect(new Set(texts).size).toBe(mutants.length + 1);
    for (const mutant of mutants) expect(() => parseMachine(toJson(mutant.document)), mutant.label).not.toThrow();
  });

  it("leave the document alone", () => {
    const before = JSON.stringify(document);
    for (const mutant of aslMutants(document)) expect(mutant.document).not.toBe(document);
    expect(JSON.stringify(document)).toBe(before);
  });
});

describe("the public validator", () => {
  it("agrees with a document that this interpreter runs", () => {
    expect(validateAsl(document)).toBeUndefined();
    expect(document).not.toHaveProperty("States.A.QueryLanguage");
  });

  it("speaks of one with a state that nothing leads to", () => {
    const lost = machineOf({ A: { Type: "Pass", End: true }, B: { Type: "Pass", End: true } });
    expect(validateAsl(lost)).toContain("B");
    expect(() => parseMachine(toJson(lost))).not.toThrow();
  });
});
