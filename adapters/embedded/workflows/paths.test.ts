import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import type { Json } from "./json.ts";
import { findAt, parsePath, placeAt, readAt } from "./paths.ts";

const scope = (input: Json) => ({
  input,
  context: { Execution: { Name: "one", Input: { a: 1 } } },
  random: new SeededRandom(1),
});

describe("parsePath", () => {
  it.each([
    "$",
    "$.a",
    "$.a_b.c-d",
    "$['x y'].z",
    "$.a[0][12]",
    "$$.Execution.Name",
    "$$.Execution.Input.a[1]",
    "$$.Task.Token",
  ])("takes %s", (text) => {
    expect(parsePath(text, "$.X").text).toBe(text);
  });

  it.each([
    ["", "must start with $"],
    ["a", "must start with $"],
    ["$a", "not a reference path"],
    ["$.", "not a reference path"],
    ["$..a", "not a reference path"],
    ["$.*", "not a reference path"],
    ["$[*]", "not a reference path"],
    ["$.a[0:1]", "not a reference path"],
    ["$.a[-1]", "not a reference path"],
    ["$.a[?(@.b)]", "not a reference path"],
    ["$.a[01]", "not a reference path"],
    ["$.a,$.b", "not a reference path"],
    ["$.a.length()", "not a reference path"],
    ['$["a"]', "not a reference path"],
    ["$$", "has no"],
    ["$$.Execution", "has no"],
    ["$$.Execution.RoleArn", "has no"],
    ["$$.State.Name.x", "has no"],
  ])("refuses %s", (text, why) => {
    expect(() => parsePath(text, "$.States.A.InputPath")).toThrow(`$.States.A.InputPath`);
    expect(() => parsePath(text, "$.X")).toThrow(expect.objectContaining({ name: "InvalidDefinition" }));
    expect(() => parsePath(text, "$.X")).toThrow(why);
  });
});

describe("reading", () => {
  it.each<[string, Json, Json | undefined]>([
    ["$", null, null],
    ["$.a", { a: null }, null],
    ["$.a", {}, undefined],
    ["$.a", [], undefined],
    ["$.a.b", { a: 1 }, undefined],
    ["$[1]", [1, 2], 2],
    ["$[2]", [1, 2], undefined],
    ["$[0]", { 0: "a" }, undefined],
    ["$['0']", { 0: "a" }, "a"],
    ["$.constructor", {}, undefined],
    ["$.a.length", { a: [] }, undefined],
    ["$$.Execution.Input.a", {}, 1],
  ])("%s of %j is %j", (text, input, expected) => {
    expect(findAt(parsePath(text, ""), scope(input))).toEqual(expected);
  });

  it("is a runtime failure where nothing is", () => {
    expect(() => readAt(parsePath("$.b", ""), scope({ a: 1 }), "A.InputPath")).toThrow(
      expect.objectContaining({ error: "States.Runtime", reason: "A.InputPath: the path $.b selects nothing" }),
    );
  });
});

describe("ResultPath", () => {
  it.each<[string, Json, Json]>([
    ["$", { a: 1 }, "R"],
    ["$.b", { a: 1 }, { a: 1, b: "R" }],
    ["$.a", { a: 1, b: 2 }, { a: "R", b: 2 }],
    ["$.b.c.d", { a: 1 }, { a: 1, b: { c: { d: "R" } } }],
    ["$.a[1]", { a: [1, 2] }, { a: [1, "R"] }],
    ["$.a[0].b", { a: [{ c: 1 }] }, { a: [{ c: 1, b: "R" }] }],
  ])("%s of %j", (text, input, expected) => {
    expect(placeAt(parsePath(text, ""), input, "R")).toEqual(expected);
  });

  it.each<[string, Json]>([
    ["$.a", null],
    ["$.a", 1],
    ["$.a", [1]],
    ["$.a.b", { a: "text" }],
    ["$.a[1]", { a: [1] }],
    ["$.a[0]", {}],
  ])("%s does not fit %j", (text, input) => {
    expect(() => placeAt(parsePath(text, ""), input, "R")).toThrow(
      expect.objectContaining({ error: "States.ResultPathMatchFailure" }),
    );
  });

  it("drops the result for null", () => {
    expect(placeAt(null, { a: 1 }, "R")).toEqual({ a: 1 });
  });

  it("is what reading finds again, and changes nothing else", () => {
    const name = fc.constantFrom("a", "b", "__proto__", "toString");
    fc.assert(
      fc.property(
        fc.dictionary(name, fc.jsonValue()),
        fc.array(name, { minLength: 1, maxLength: 3 }),
        (input, names) => {
          const [first = ""] = names;
          const target = { ...JSON.parse(JSON.stringify(input)) };
          delete target[first];
          const path = parsePath(`$${names.map((step) => `['${step}']`).join("")}`, "");
          const placed = placeAt(path, target, "R");
          expect(findAt(path, scope(placed))).toBe("R");
          for (const [key, value] of Object.entries(target)) expect(placed).toHaveProperty([key], value);
        },
      ),
    );
  });
});
