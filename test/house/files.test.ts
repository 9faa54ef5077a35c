import { describe, expect, it } from "vitest";
import { areaOf, files, read, sources } from "./sources.ts";

/** Lines of a source file: one that is longer is two files. */
const linesMax = 500;

/** Names that custom writes in capitals, or that a tool fixes. */
const namesByCustom = /(^|\/)(README|FORMAT|CHANGELOG|CONTRIBUTING|AGENTS|CLAUDE|SECURITY|LICENSE|NOTICE)(\.md)?$/;
const kebabCase = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$/;

function lineCount(path: string): number {
  return read(path).trimEnd().split("\n").length;
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

describe("house: files", () => {
  it(`have at most ${linesMax} lines, and a median that is read in one sitting`, () => {
    const lengths = sources.map((path) => ({ path, lines: lineCount(path) }));
    const areas = Map.groupBy(lengths, ({ path }) => areaOf(path) || ".");
    const table = [...areas].map(([area, of]) => `${area} ${median(of.map(({ lines }) => lines))} (${of.length})`);
    const all = median(lengths.map(({ lines }) => lines));
    console.info(`Median lines of a source file (files): all ${all} (${lengths.length}), ${table.join(", ")}`);
    expect(lengths.filter(({ lines }) => lines > linesMax)).toEqual([]);
    expect(all).toBeLessThanOrEqual(150);
  });

  it("have kebab-case names, folders too", () => {
    const odd = files.filter((path) => {
      if (namesByCustom.test(path)) return false;
      return path.split("/").some((segment) => !kebabCase.test(segment.replace(/^\./, "")));
    });
    expect(odd.filter((path) => !namesByCustom.test(path))).toEqual([]);
  });

  it("end in one line break and hold no tabs, trailing blanks or carriage returns", () => {
    const text = files.filter(
      (path) => /\.(ts|mjs|json|md|toml|sh|yml|yaml)$/.test(path) && path !== "package-lock.json",
    );
    const untidy = text.filter((path) => {
      const body = read(path);
      return /\t|\r|[ ]\n|\n\n$/.test(body) || !body.endsWith("\n");
    });
    expect(untidy).toEqual([]);
  });
});

describe("house: words", () => {
  // Spelled in two parts, so that this file may hold its own rule.
  const rules: readonly (readonly [string, RegExp])[] = [
    [
      "work left without an issue's number",
      new RegExp(`\\b(${"TO"}DO|${"FIX"}ME|${"XX"}X|${"HA"}CK)\\b(?!\\(#\\d+\\))`),
    ],
    ["a type error told to be quiet", new RegExp(`@ts-${"ignore"}|@ts-${"nocheck"}`)],
    ["a test that runs alone", new RegExp(`\\b(it|test|describe)\\.${"only"}\\b`)],
    ["a debugger", new RegExp(`\\b${"debug"}ger;`)],
    ["a suppression without a reason", new RegExp(`${"biome"}-ignore [^:\\n]*(:\\s*(<explanation>)?\\s*$|$)`, "m")],
    ["this workplace", new RegExp(`/${"work"}/(wt|main|shared)\\b`)],
  ];
  it.each(rules)("of %s are nowhere", (_, pattern) => {
    const text = files.filter(
      (path) => /\.(ts|mjs|json|md|toml|sh|yml|yaml)$/.test(path) && path !== "package-lock.json",
    );
    expect(text.filter((path) => pattern.test(read(path)))).toEqual([]);
  });
});
