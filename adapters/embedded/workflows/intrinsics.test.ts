import { describe, expect, it } from "vitest";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { evaluate, parseExpression } from "./intrinsics.ts";
import type { Json } from "./json.ts";

const input = { name: "Ann", n: 5, list: [1, "two", null], object: { a: 1 }, text: '{"a":[1]}', yes: true, none: null };

function run(text: string): Json {
  const scope = { input, context: { Execution: { Name: "one" } }, random: new SeededRandom(1) };
  return evaluate(parseExpression(text, "$.X"), scope, "X");
}

describe("intrinsic functions", () => {
  it.each<[string, Json]>([
    ["$.n", 5],
    ["$$.Execution.Name", "one"],
    ["States.Format('Hello {}, {}!', $.name, $.n)", "Hello Ann, 5!"],
    ["States.Format('{} {} {}', $.yes, $.none, 1.5)", "true null 1.5"],
    ["States.Format('no arguments')", "no arguments"],
    ["States.Format('it\\'s \\{\\} {}', 'x')", "it's {} x"],
    ["States.Format($.name)", "Ann"],
    ["States.Format('{}', States.JsonToString($.object))", '{"a":1}'],
    ["States.JsonToString($.list)", '[1,"two",null]'],
    ["States.StringToJson($.text)", { a: [1] }],
    ["States.Array()", []],
    ["States.Array('a', 1, -2.5, true, false, null, $.list)", ["a", 1, -2.5, true, false, null, [1, "two", null]]],
    ["States.Array('it\\'s', 'a\\\\b')", ["it's", "a\\b"]],
    ["States.ArrayGetItem($.list, 1)", "two"],
    ["States.ArrayLength($.list)", 3],
    ["States.ArrayLength( States.Array( 1 , 2 ) )", 2],
    ["States.MathAdd($.n, -7)", -2],
    ["States.Array($['name'], $.list[0])", ["Ann", 1]],
  ])("%s", (text, expected) => {
    expect(run(text)).toEqual(expected);
  });

  it("makes version 4 UUIDs, each one new", () => {
    const made = run("States.Array(States.UUID(), States.UUID())");
    const uuid = expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(made).toEqual([uuid, uuid]);
    expect(new Set(Array.isArray(made) ? made : []).size).toBe(2);
  });

  it.each([
    "States.Format('{}')",
    "States.Format('{}', 1, 2)",
    "States.Format('{}', $.object)",
    "States.Format($.n)",
    "States.StringToJson($.name)",
    "States.StringToJson($.n)",
    "States.ArrayGetItem($.list, 3)",
    "States.ArrayGetItem($.list, -1)",
    "States.ArrayGetItem($.name, 0)",
    "States.ArrayLength($.name)",
    "States.MathAdd(1.5, 1)",
    "States.MathAdd($.name, 1)",
  ])("fails at %s", (text) => {
    expect(() => run(text)).toThrow(expect.objectContaining({ error: "States.IntrinsicFailure" }));
  });

  it("fails at run time for a path that selects nothing", () => {
    expect(() => run("States.Array($.missing)")).toThrow(expect.objectContaining({ error: "States.Runtime" }));
  });

  it.each([
    "",
    "States",
    "States.Hash('a', 'SHA-1')",
    "States.ArrayContains($.list, 1)",
    "States.MathRandom(1, 2)",
    "States.toString()",
    "Format('a')",
    "States.Format",
    "States.Format(",
    "States.Format('a'",
    "States.Format('a' 'b')",
    "States.Format('a',)",
    "States.Format('a') x",
    "States.Format('a'))",
    'States.Format("a")',
    "States.Format('a', $..b)",
    "States.Format('a', b)",
    "States.Format('a\\nb')",
    "States.MathAdd(1)",
    "States.MathAdd(1, 2, 3)",
    "States.UUID(1)",
    "States.MathAdd(01, 2)",
    `${"States.Array(".repeat(40)}${")".repeat(40)}`,
  ])("refuses the definition %s", (text) => {
    expect(() => parseExpression(text, "$.X")).toThrow(expect.objectContaining({ name: "InvalidDefinition" }));
  });
});
