import { describe, expect, it } from "vitest";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { parseCondition } from "./choice.ts";
import { Fields } from "./fields.ts";
import type { Json } from "./json.ts";

const early = "2030-01-01T00:00:00Z";
const late = "2030-01-01T01:00:00.5+00:30";
const data = { s: "b", t: "c", n: 2, m: 3, yes: true, no: false, none: null, early, late, list: [1], path: "a*b\\c" };

function holds(rule: Json, input: Json = data): boolean {
  return parseCondition(new Fields(rule, "$"))({
    input,
    context: { Execution: { Name: "one" } },
    random: new SeededRandom(1),
  });
}

describe("choice rules", () => {
  it.each<[string, Json, boolean]>([
    ["StringEquals", "b", true],
    ["StringEquals", "c", false],
    ["StringLessThan", "c", true],
    ["StringLessThan", "b", false],
    ["StringLessThanEquals", "b", true],
    ["StringGreaterThan", "a", true],
    ["StringGreaterThan", "b", false],
    ["StringGreaterThanEquals", "b", true],
    ["StringGreaterThanEquals", "c", false],
    ["StringEqualsPath", "$.s", true],
    ["StringLessThanPath", "$.t", true],
    ["StringLessThanPath", "$.n", false],
    ["StringMatches", "*", true],
    ["StringMatches", "b*", true],
    ["StringMatches", "*a", false],
    ["IsString", true, true],
    ["IsString", false, false],
    ["IsNumeric", false, true],
    ["NumericEquals", 2, false],
    ["BooleanEquals", true, false],
    ["TimestampEquals", early, false],
    ["IsTimestamp", true, false],
  ])("the string b: %s %j is %s", (operator, value, expected) => {
    expect(holds({ Variable: "$.s", [operator]: value })).toBe(expected);
  });

  it.each<[string, Json, boolean]>([
    ["NumericEquals", 2, true],
    ["NumericEquals", 2.5, false],
    ["NumericLessThan", 3, true],
    ["NumericLessThan", 2, false],
    ["NumericLessThanEquals", 2, true],
    ["NumericLessThanEquals", 1, false],
    ["NumericGreaterThan", 1, true],
    ["NumericGreaterThan", 2, false],
    ["NumericGreaterThanEquals", 2, true],
    ["NumericLessThanPath", "$.m", true],
    ["NumericEqualsPath", "$.s", false],
    ["IsNumeric", true, true],
    ["StringEquals", "2", false],
    ["StringMatches", "2", false],
  ])("the number 2: %s %j is %s", (operator, value, expected) => {
    expect(holds({ Variable: "$.n", [operator]: value })).toBe(expected);
  });

  it.each<[string, string, Json, boolean]>([
    ["yes", "BooleanEquals", true, true],
    ["yes", "BooleanEquals", false, false],
    ["no", "BooleanEquals", false, true],
    ["yes", "BooleanEqualsPath", "$.yes", true],
    ["yes", "BooleanEqualsPath", "$.no", false],
    ["yes", "IsBoolean", true, true],
    ["none", "IsNull", true, true],
    ["none", "IsBoolean", true, false],
    ["none", "IsPresent", true, true],
    ["none", "StringEquals", "", false],
    ["missing", "IsPresent", false, true],
    ["missing", "IsPresent", true, false],
    ["list[1]", "IsPresent", false, true],
    ["early", "TimestampEquals", "2029-12-31T23:00:00-01:00", true],
    ["early", "TimestampLessThan", late, true],
    ["early", "TimestampLessThanPath", "$.late", true],
    ["late", "TimestampGreaterThanEquals", "2030-01-01T00:30:00.500Z", true],
    ["late", "TimestampGreaterThan", "2030-01-01T00:30:00.500Z", false],
    ["early", "IsTimestamp", true, true],
    ["path", "StringMatches", "a\\*b\\\\c", true],
    ["path", "StringMatches", "a*c", true],
    ["path", "StringMatches", "a.b.c", false],
  ])("%s: %s %j is %s", (name, operator, value, expected) => {
    expect(holds({ Variable: `$.${name}`, [operator]: value })).toBe(expected);
  });

  it("combines", () => {
    const is = (name: string): Json => ({ Variable: `$.${name}`, BooleanEquals: true });
    expect(holds({ And: [is("yes"), is("yes")] })).toBe(true);
    expect(holds({ And: [is("yes"), is("no")] })).toBe(false);
    expect(holds({ Or: [is("no"), is("yes")] })).toBe(true);
    expect(holds({ Or: [is("no"), is("no")] })).toBe(false);
    expect(holds({ Not: is("no"), Comment: "why" })).toBe(true);
    expect(holds({ Not: { And: [is("yes"), { Or: [is("no"), is("yes")] }] } })).toBe(false);
  });

  it("asks for presence before the rest", () => {
    const rule = {
      And: [
        { Variable: "$.a", IsPresent: true },
        { Variable: "$.a", StringEquals: "x" },
      ],
    };
    expect(holds(rule, {})).toBe(false);
    expect(holds(rule, { a: "x" })).toBe(true);
  });

  it("reads the context object", () => {
    expect(holds({ Variable: "$$.Execution.Name", StringEquals: "one" })).toBe(true);
  });

  it.each(["StringEquals", "IsNull", "IsString"])("%s of a missing variable ends the execution", (operator) => {
    const rule = { Variable: "$.missing", [operator]: operator === "StringEquals" ? "a" : true };
    expect(() => holds(rule)).toThrow(expect.objectContaining({ error: "States.Runtime" }));
  });

  it("ends the execution when the other path selects nothing", () => {
    const rule = { Variable: "$.s", StringEqualsPath: "$.missing" };
    expect(() => holds(rule)).toThrow(expect.objectContaining({ error: "States.Runtime" }));
  });

  it.each<[Json]>([
    [{}],
    [{ Variable: "$.s" }],
    [{ StringEquals: "a" }],
    [{ Variable: "$.s", StringEquals: "a", IsNull: true }],
    [{ Variable: "$.s", StringEquals: 1 }],
    [{ Variable: "$.s", NumericEquals: "1" }],
    [{ Variable: "$.s", TimestampEquals: "yesterday" }],
    [{ Variable: "$.s", TimestampEquals: "2030-02-30T00:00:00Z" }],
    [{ Variable: "$.s", BooleanLessThan: true }],
    [{ Variable: "$.s", StringLike: "a" }],
    [{ Variable: "$.s", StringMatchesPath: "$.t" }],
    [{ Variable: "$.s", IsNull: "yes" }],
    [{ Variable: "$.s", IsPresentPath: "$.t" }],
    [{ Variable: "$..s", IsNull: true }],
    [{ Variable: "$.s", StringEqualsPath: "t" }],
    [{ And: [] }],
    [{ And: {} }],
    [{ Not: [] }],
    [{ Not: { Variable: "$.s", IsNull: true, Next: "A" } }],
    [{ Variable: "$.s", And: [{ Variable: "$.s", IsNull: true }] }],
    ["text"],
  ])("refuses %j", (rule) => {
    expect(() => holds(rule)).toThrow(expect.objectContaining({ name: "InvalidDefinition" }));
  });
});
